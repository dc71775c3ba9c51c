// What transformers.js makes of models in a folder: features of texts, or tokens that a language model goes on with
import { readFileSync } from "node:fs";
import { AutoModelForCausalLM, AutoTokenizer, env, pipeline } from "@huggingface/transformers";

const { folder, texts, jobs } = JSON.parse(readFileSync(0, "utf8"));
env.allowRemoteModels = false;
env.localModelPath = folder;
env.useFSCache = false;

async function features({ model, options }) {
  const extract = await pipeline("feature-extraction", model, options);
  const found = await extract(texts, { pooling: "mean", normalize: true });
  return found.tolist();
}

async function generate({ model, options, tokens }) {
  const tokenizer = await AutoTokenizer.from_pretrained(model);
  const llm = await AutoModelForCausalLM.from_pretrained(model, options);
  const rows = [];
  for (const text of texts) {
    const found = await llm.generate({ ...tokenizer(text), max_new_tokens: tokens, do_sample: false });
    rows.push(found.tolist()[0].map(Number));
  }
  return rows;
}

const answers = [];
for (const job of jobs) answers.push(await (job.tokens ? generate(job) : features(job)));
console.log(JSON.stringify(answers));
