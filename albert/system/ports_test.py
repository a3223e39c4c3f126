import socket

import pytest

from albert.system import ports


def test_free_ports_can_be_bound_and_are_none_of_the_kernels_own():
    found = ports.free_ports(5)
    assert len(set(found)) == 5
    low, high = ports._range_of_clients()
    for port in found:
        assert not low <= port <= high
        with socket.socket() as server:
            server.bind(("", port))


def test_ports_in_use_are_left_out(monkeypatch, tmp_path):
    # All but two are the kernel's.
    kernels = tmp_path / "range"
    kernels.write_text(f"{ports._LOWEST + 2}\t{ports._HIGHEST}\n")
    monkeypatch.setattr(ports, "_RANGE_OF_CLIENTS", kernels)
    with socket.socket() as server:
        server.bind(("", ports._LOWEST))
        assert ports.free_ports(1) == [ports._LOWEST + 1]
        with pytest.raises(OSError, match="fewer than 2 ports"):
            ports.free_ports(2)
