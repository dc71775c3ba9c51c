"""Ranks: a function run by several processes that know each other through gloo"""

import multiprocessing
import os
import traceback
from pathlib import Path

import torch.distributed as dist


def in_ranks(work, count, folder, *args, seconds=120):
    """Exit status by rank; each calls work(rank, *args) in a process group that meets in a file of the folder"""
    # torch is imported once, by the process that all are forked from
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([work.__module__])
    meeting = Path(folder) / f"meeting-{os.urandom(4).hex()}"
    processes = [
        server.Process(target=_run, args=(work, rank, count, str(meeting), args), name=f"rank {rank}")
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def _run(work, rank, count, meeting, args):
    try:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
        work(rank, *args)
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
