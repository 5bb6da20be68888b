"""Worker processes of data loaders."""

import gc
import multiprocessing
import os
import signal
import threading

import cv2
import torch


def prepare_worker(_worker: int) -> None:
    """Make a loader's worker process a good companion of the main process.

    It has one thread: workers that share cores with the network must not start thread pools of their own. Ctrl-C and
    schedulers signal whole groups of processes, or every process of a job (Slurm, systemd): the main one decides what
    it means, workers are none of its group and ignore it. When the main process ends or is killed, the worker ends too.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # What a forked worker inherited lives as long as it does, and collecting garbage would copy it all.
    gc.freeze()
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    # A plain exit would wait for somebody to take what is in the queue.
    os._exit(1)
