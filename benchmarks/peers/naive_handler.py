"""A TorchServe handler as the first page of its documentation has it: BaseHandler with three methods."""

import json
from pathlib import Path

import torch
from ts.torch_handler.base_handler import BaseHandler


class NaiveHandler(BaseHandler):
    """Answers `{"user_id": "196"}`; one that does not hold it fails the batch."""

    def initialize(self, context):
        """Load the module and the ids."""
        super().initialize(context)
        torch.set_num_threads(1)
        ids = json.loads((Path(context.system_properties["model_dir"]) / "naive.json").read_text())
        self.items = ids["items"]
        self.rows = {user: row for row, user in enumerate(ids["users"])}

    def preprocess(self, data):
        """Give the users' rows."""
        return torch.tensor([self.rows[request["body"]["user_id"]] for request in data])

    def inference(self, data, *args, **kwargs):
        """Give scores and rows of items."""
        with torch.inference_mode():
            return self.model(data)

    def postprocess(self, data):
        """Give the answers."""
        scores, rows = data
        return [
            {"items": [self.items[row] for row in own], "scores": of}
            for own, of in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
