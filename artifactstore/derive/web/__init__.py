"""Web: a version as ONNX, in the files that transformers.js and onnxruntime load"""
