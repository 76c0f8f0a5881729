# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The container runtime interface (CRI) of containerd, which Kubernetes' kubelet speaks, by gRPC on its socket.

    cri = Cri(path of containerd.sock)
    answer = cri.call("PodSandboxStatus", pod_sandbox_id=sandbox)

Debian 12 has neither the interface's api.proto nor crictl. But every Go program has the descriptions of its messages in
it, each a compressed FileDescriptorProto; so they are read from the containerd that is installed, and fit it whatever
its version.
"""

import functools
import pathlib
import shutil
import zlib

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lab import LabError

PACKAGE = "runtime.v1"
SERVICE = f"{PACKAGE}.RuntimeService"
GZIP = b"\x1f\x8b\x08"
FILE_MAX = 1 << 20      # far more than a description has, compressed


def _descriptions(program):
    """Every FileDescriptorProto that is in a Go program's file."""
    data = pathlib.Path(program).read_bytes()
    at = data.find(GZIP)
    while at >= 0:
        unpack = zlib.decompressobj(wbits=31)
        try:
            yield descriptor_pb2.FileDescriptorProto.FromString(unpack.decompress(data[at:at + FILE_MAX]))
        except Exception:       # zlib's or protobuf's, which have no class in common: it is something else
            pass
        at = data.find(GZIP, at + 1)


@functools.cache
def _pool():
    """The interface's messages, without the options that only Go's generator of code reads."""
    program = shutil.which("containerd")
    found = [f for f in _descriptions(program) if f.package == PACKAGE]
    if len(found) != 1:
        raise LabError(f"{program} describes {PACKAGE} {len(found)} times, not once")
    [file] = found
    del file.dependency[:]
    file.ClearField("options")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _class(name):
    descriptor = _pool().FindMessageTypeByName(name)
    return message_factory.MessageFactory(_pool()).GetPrototype(descriptor)


class Cri:
    """A connection."""

    def __init__(self, path):
        self.channel = grpc.insecure_channel(f"unix://{path}")
        self.methods = _pool().FindServiceByName(SERVICE).methods_by_name

    def call(self, method, timeout=120, **fields):
        """The answer to a request with these fields (messages in it are dicts); LabError with what containerd says."""
        description = self.methods[method]
        request = _class(description.input_type.full_name)(**fields)
        answer = _class(description.output_type.full_name)
        call = self.channel.unary_unary(f"/{SERVICE}/{method}", request_serializer=lambda r: r.SerializeToString(),
                                        response_deserializer=answer.FromString)
        try:
            return call(request, timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as e:
            raise LabError(f"{method}: {e.code().name}: {e.details()}") from None

    def close(self):
        self.channel.close()
