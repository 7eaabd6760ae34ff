"""The naive model behind LitServe, batched; arguments: the folder of the model, and the port."""

import sys
from pathlib import Path

import litserve
from naive_model import Naive


class Api(litserve.LitAPI):
    """What LitServe calls."""

    def setup(self, device):
        """Load the model in the worker."""
        self.naive = Naive(Path(sys.argv[1]))

    def decode_request(self, request):
        """Take the parsed body as it is."""
        return request

    def batch(self, inputs):
        """Keep a batch a list."""
        return inputs

    def predict(self, requests):
        """Answer a batch."""
        return self.naive.answer(requests)

    def unbatch(self, output):
        """Keep answers a list."""
        return output

    def encode_response(self, output):
        """Give an answer as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Api(max_batch_size=32, batch_timeout=0.001), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
