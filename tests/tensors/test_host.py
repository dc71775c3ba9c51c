"""Processes share tensors with whom they may, and nobody who asks or serves badly keeps another waiting"""

import json
import multiprocessing
import os
import pickle
import resource
import shutil
import socket
import stat
import threading
import time
from contextlib import ExitStack, suppress
from multiprocessing.connection import Client

import pytest
import torch

from artifactstore import Settings, Store
from artifactstore.core.errors import Denied
from artifactstore.tensors.host import Asked, Server
from artifactstore.tensors.meeting import asked, connected, listen
from artifactstore.tensors.shared import packed, share
from artifactstore.tensors.shelf import SHELF, Key, Shelf
from tests.tensors.tuned import device, same, states, store

__all__ = ["device", "states", "store"]  # fixtures
KEY = Key(("F32", (3,), ()), "None", "cpu")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "host"


@pytest.fixture
def shelf():
    """One tensor that others may have"""
    shelf, tensor = Shelf(), torch.arange(3.0)
    share([tensor])
    shelf.note(KEY, tensor)
    shelf.tensor = tensor
    return shelf


def answers(folder):
    return [tensor.tolist() for tensor in Asked(folder)([KEY]).values()] == [[0, 1, 2]]


def take(url, folder, device, connection):
    """Another process: loads with what the host has, writes into one tensor, and tells what it read"""
    with Store.open(url, settings=Settings(attested=f"{folder}.attested")) as store:
        loaded = store.resident(device, host=folder, verify="always").load("tuned")
        loaded["large.0"][:3] = 1
        if device == "cuda":
            torch.cuda.synchronize()
        connection.send((loaded.report.verified, {name: tensor.cpu().clone() for name, tensor in loaded.items()}))
        connection.recv()


class TestProcesses:
    def test_another_process_has_the_same_memory(self, store, states, device, tmp_path, folder):
        base = store.resident(device).load("base", shared=True)
        ours, theirs = multiprocessing.Pipe()
        with store.resident(device).serve(folder), ours:
            args = (str(tmp_path / "store"), str(folder), device, theirs)
            process = multiprocessing.get_context("spawn").Process(target=take, args=args, daemon=True)
            process.start()
            verified, found = ours.recv()
            assert base["large.0"][:3].cpu().tolist() == [1, 1, 1]
            ours.send("thanks")
            process.join()
        assert verified["hashed"] < 2 * 5 * (2 << 20)
        found["large.0"][:3] = states[1]["large.0"][:3]
        assert same(found, {name: states[1][name] for name in found})

    def test_without_a_host_all_is_read(self, store, states, device, folder):
        found = store.resident(device, host=folder).load("base")
        assert same(found, {name: states[0][name] for name in found})

    def test_what_cannot_be_opened_is_read(self, store, states, folder, caplog):
        """As the memory of a GPU in a container that has no share in it"""

        def answer():
            client, _ = listening.accept()
            with client, asked(client, b"key") as connection:
                [one, *_] = json.loads(connection.recv_bytes())
                connection.send_bytes(pickle.dumps({one: pickle.dumps(Unmappable())}))
                with suppress(EOFError):
                    connection.recv_bytes()

        listening = listen(folder, b"key")
        thread = threading.Thread(target=answer)
        thread.start()
        found = store.resident("cpu", host=folder).load("base")
        thread.join()
        listening.close()
        assert same(found, {name: states[0][name] for name in found})
        assert "cannot be mapped here" in caplog.text


class Unmappable:
    def __reduce__(self):
        return fail, ()


def fail():
    raise RuntimeError("cannot be mapped here")


class TestShared:
    def test_what_is_private_is_neither_given_nor_moved(self, store, folder):
        loaded = store.resident("cpu").load("base")
        addresses = {name: tensor.data_ptr() for name, tensor in loaded.items()}
        with store.resident("cpu").serve(folder):
            assert Asked(folder)([key for key, _ in SHELF.all()]) == {}
        assert {name: tensor.data_ptr() for name, tensor in loaded.items()} == addresses

    def test_what_torch_has_moved_since_is_not_moved_again(self):
        tensor = torch.arange(3.0)
        share([tensor])
        assert list(packed({"one": tensor})) == ["one"]
        # to memory without a name, as a queue of torch's does
        tensor.share_memory_()
        address = tensor.data_ptr()
        assert packed({"one": tensor}) == {}
        assert tensor.data_ptr() == address

    def test_empty_ones_and_scalars_are_shared(self):
        tensors = {"empty": torch.ones(0, 3), "scalar": torch.tensor(2.0)}
        share(tensors.values())
        assert same({name: pickle.loads(one) for name, one in packed(tensors).items()}, tensors)


class TestFolder:
    def test_one_that_cannot_be_is_told(self, shelf, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(Denied, match="cannot be shared"):
            Server(shelf, tmp_path / "file")

    def test_one_that_others_may_enter_is_neither_served_nor_asked(self, shelf, folder, caplog):
        with Server(shelf, folder):
            folder.chmod(0o750)
            assert not answers(folder)
            folder.chmod(0o700)
            assert answers(folder)
        assert "alone may enter" in caplog.text
        folder.chmod(0o755)
        with pytest.raises(Denied, match="alone may enter"):
            Server(shelf, folder)

    def test_a_link_to_one_is_none(self, shelf, folder, tmp_path):
        (tmp_path / "link").symlink_to(folder)
        with Server(shelf, folder):
            assert not answers(tmp_path / "link")
        with pytest.raises(Denied):
            Server(shelf, tmp_path / "link")

    def test_the_key_is_a_new_file_that_nobody_else_reads(self, shelf, folder, tmp_path):
        folder.mkdir(mode=0o700)
        (tmp_path / "mine").write_text("as it was")
        (folder / "host.key").symlink_to(tmp_path / "mine")
        with Server(shelf, folder):
            assert stat.S_IMODE((folder / "host.key").lstat().st_mode) == 0o600
            assert answers(folder)
        assert (tmp_path / "mine").read_text() == "as it was"

    def test_a_second_server_is_refused_while_the_first_answers(self, shelf, folder):
        with Server(Shelf(), folder), pytest.raises(Denied, match="another serves there"):
            Server(shelf, folder)
        with Server(shelf, folder):
            assert answers(folder)
        assert not answers(folder)


class TestServer:
    def test_ends_when_its_folder_is_gone(self, shelf, folder):
        with Server(shelf, folder):
            shutil.rmtree(folder)
        assert not answers(folder)

    def test_answers_others_after_a_wrong_key(self, shelf, folder):
        with Server(shelf, folder):
            with pytest.raises(multiprocessing.AuthenticationError):
                Client(str(folder / "host.sock"), "AF_UNIX", authkey=b"wrong")
            assert answers(folder)
            (folder / "host.key").write_bytes(b"stale")
            assert not answers(folder)

    def test_answers_others_while_one_is_silent_and_leaves_it_at_the_end(self, shelf, folder):
        with socket.socket(socket.AF_UNIX) as silent:
            with Server(shelf, folder):
                silent.connect(str(folder / "host.sock"))
                assert silent.recv(1)
                assert answers(folder)
            # sooner than the server would give it up
            silent.settimeout(10)
            while silent.recv(1 << 10):
                pass

    def test_gives_nothing_after_its_end(self, shelf, folder):
        with ExitStack() as client:
            with Server(shelf, folder):
                connection = client.enter_context(connected(folder))
            with pytest.raises((EOFError, OSError)):
                connection.recv_bytes()

    def test_waits_for_descriptors(self, shelf, folder, caplog):
        with socket.socket(socket.AF_UNIX) as client, Server(shelf, folder):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                client.connect(str(folder / "host.sock"))
                while "without descriptors" not in caplog.text:
                    time.sleep(0.01)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert client.recv(1)
            # it does not try again and again
            assert caplog.text.count("without descriptors") < 20

    def test_a_forked_child_leaves_it_alone(self, shelf, folder):
        with Server(shelf, folder) as server:
            child = os.fork()
            if not child:
                server.__exit__(None, None, None)
                os._exit(0)
            os.waitpid(child, 0)
            assert answers(folder)

    def test_a_forked_child_asks_for_itself(self, shelf, folder):
        ask = Asked(folder)
        with Server(shelf, folder):
            assert ask([KEY])
            child = os.fork()
            if not child:
                os._exit(len(ask([KEY])))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
            assert ask([KEY])
