"""The CRI image service, as kubelet calls it. Debian has no crictl."""

import functools
import importlib.util
import pathlib
import tempfile

from .process import run


@functools.cache
def _messages():
    """The module that protoc makes of cri.proto."""
    here = pathlib.Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        run("protoc", f"--proto_path={here}", f"--python_out={folder}", here / "cri.proto")
        spec = importlib.util.spec_from_file_location("cri_pb2", f"{folder}/cri_pb2.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


class ImageService:
    def __init__(self, socket):
        import grpc  # here, so that those who do not pull by CRI need not have it

        self._channel = grpc.insecure_channel(
            f"unix://{socket}", options=[("grpc.default_authority", "localhost")])

    def _call(self, method, request, timeout):
        messages = _messages()
        answer = getattr(messages, f"{method}Response")
        return self._channel.unary_unary(
            f"/runtime.v1.ImageService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString)(request, timeout=timeout)

    def _request(self, method, image):
        messages = _messages()
        return getattr(messages, f"{method}Request")(image=messages.ImageSpec(image=image))

    def pull(self, reference, timeout=300):
        """Returns the image's id. Raises grpc.RpcError, whose details() say what went wrong."""
        return self._call("PullImage", self._request("PullImage", reference), timeout).image_ref

    def status(self, reference):
        """The image, or None."""
        answer = self._call("ImageStatus", self._request("ImageStatus", reference), 30)
        return answer.image if answer.image.id else None

    def list(self):
        return list(self._call("ListImages", _messages().ListImagesRequest(), 30).images)

    def remove(self, reference):
        self._call("RemoveImage", self._request("RemoveImage", reference), 30)

    def close(self):
        self._channel.close()
