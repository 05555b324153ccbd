"""open_clip models: loading, and the tokens of both towers, projected."""

import contextlib
import hashlib
import secrets
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ._run import of_process
from .weights import announce, clip_repo

WITHOUT = "GaborEmbedder works without weights, and tokens can be given in place of images."


class ClipModel:
    """A loaded CLIP model; OSError where its weights are not there and cannot be downloaded."""

    def __init__(self, name: str, pretrained: str | None, device: str = "auto") -> None:
        import open_clip

        from .._torch import resolve_device

        self._made_of = secrets.token_hex(), name, pretrained, device
        check_activation(name, pretrained)
        announce(clip_repo(name, pretrained), "open_clip_*", without=WITHOUT)
        self.device = resolve_device(device)
        try:
            model, self.preprocess = open_clip.create_model_from_pretrained(
                name, pretrained=None if ":" in name else pretrained, device=self.device
            )
            self.tokenizer = open_clip.get_tokenizer(name)
        except (OSError, RuntimeError, FileNotFoundError) as error:
            reason = (str(error).splitlines() or [""])[0][:200]
            raise OSError(
                f"The weights of {name!r} ({pretrained}) could not be loaded ({reason}). Load them "
                "once where there is a network and copy the Hugging Face cache (HF_HOME), or give "
                f"a folder as model='local-dir:PATH'. {WITHOUT}"
            ) from error
        self.model = model.eval()

    def __reduce__(self) -> tuple:
        """Send no weights to another process: there they are loaded, once."""
        return of_process, (ClipModel, *self._made_of)

    def image_tokens(self, images: list[Image.Image]) -> np.ndarray:
        """Return projected tokens of images: float32 array, (n_images, n_tokens, n_features).

        The first is what ``encode_image`` returns; then come the patches, each through the last
        normalisation and the projection that the class token goes through. Towers whose patches
        have no such projection give the first token only.
        """
        import torch

        batch = torch.stack([self.preprocess(image) for image in images]).to(self.device)
        visual = self.model.visual
        projection = getattr(visual, "proj", None)
        with torch.no_grad(), self._precision():
            if not hasattr(visual, "ln_post") or not isinstance(projection, torch.nn.Parameter):
                pooled = self.model.encode_image(batch)
                return pooled.float().cpu().numpy()[:, None]
            out = visual.forward_intermediates(
                batch, indices=1, normalize_intermediates=True, output_fmt="NLC"
            )
            patches = out["image_intermediates"][-1] @ projection
            tokens = torch.cat([out["image_features"][:, None], patches], dim=1)
        return tokens.float().cpu().numpy()

    def text_tokens(self, captions: list[str]) -> list[np.ndarray]:
        """Return tokens of captions, whose last one is what ``encode_text`` returns."""
        import torch

        ids = self.tokenizer(captions).to(self.device)
        owner = self.model if hasattr(self.model, "text_projection") else self.model.text
        projection = owner.text_projection
        with torch.no_grad(), self._precision():
            out = self.model.forward_intermediates(
                text=ids, text_indices=1, normalize=False, normalize_intermediates=True
            )
            hidden = out["text_intermediates"][-1]
            if projection is not None:
                linear = isinstance(projection, torch.nn.Module)
                hidden = projection(hidden) if linear else hidden @ projection
        hidden = hidden.float().cpu().numpy()
        pooled = out["text_features"].float().cpu().numpy()
        ends = self._ends(owner, ids.cpu().numpy())
        tokens = []
        for row, (end, last) in enumerate(zip(ends, pooled, strict=True)):
            # the start token sees nothing but itself, and is the same for all captions
            words = hidden[row, 1:end]
            tokens.append(np.concatenate([words, last[None]]))
        return tokens

    @staticmethod
    def _ends(owner: Any, ids: np.ndarray) -> np.ndarray:
        """Position of the token that stands for the whole caption."""
        eos = getattr(owner, "text_eos_id", getattr(owner, "eos_id", None))
        kind = getattr(owner, "text_pool_type", getattr(owner, "pool_type", "argmax"))
        if kind == "eos" and eos is not None:
            return (ids == eos).argmax(axis=1)
        return ids.argmax(axis=1) if kind == "argmax" else np.full(len(ids), ids.shape[1] - 1)

    def _precision(self) -> AbstractContextManager:
        """Half precision where it pays: on accelerators."""
        import torch

        if self.device.type == "cpu":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def check_activation(name: str, pretrained: str | None) -> None:
    """Raise where open_clip would build the model with another activation than the weights had."""
    import open_clip

    if ":" in name:
        return
    config = open_clip.get_model_config(name)
    if config is None:
        raise ValueError(
            f"model={name!r} is not known to open_clip; open_clip.list_models() names those that "
            "are. Folders are given as 'local-dir:PATH', models of the hub as 'hf-hub:NAME'."
        )
    weights = open_clip.get_pretrained_cfg(name, pretrained) or {}
    if not weights and not Path(str(pretrained)).is_file():
        known = open_clip.list_pretrained_tags_by_model(name)
        raise ValueError(
            f"pretrained={pretrained!r} is not known for {name!r}; open_clip has {known}."
        )
    quick = bool(config.get("quick_gelu", False))
    if weights and bool(weights.get("quick_gelu", False)) != quick:
        raise ValueError(
            f"model={name!r} has another activation than the weights {pretrained!r} were trained "
            "with, which would spoil every embedding; use "
            f"model={name.removesuffix('-quickgelu') if quick else name + '-quickgelu'!r}."
        )


def weights_identity(name: str, pretrained: str | None) -> str:
    """Return what tells one set of weights from another."""
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        digest = hashlib.sha256()
        for path in sorted(folder.glob("*")):
            if path.suffix in (".safetensors", ".bin", ".json"):
                with open(path, "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()
    if name.startswith("hf-hub:"):
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(name.removeprefix("hf-hub:"), "open_clip_config.json")
        return Path(path).parent.name if isinstance(path, str) else "not in the cache"
    weights_file = Path(str(pretrained))
    if weights_file.is_file():
        with weights_file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    import open_clip

    weights = open_clip.get_pretrained_cfg(name, pretrained) or {}
    return str(sorted((k, str(v)) for k, v in weights.items() if k in ("url", "hf_hub", "sha")))
