"""ClipEmbedder: CLIP image tokens, then the CLIP tokens of a caption."""

import os
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from .._lazy import scratch
from .._log import logger
from .._parameters import Integer, check_parameters
from .._types import PathLike
from ._run import N_JOBS, in_batches
from .cache import Cache, cache_folder
from .captions import Captioner
from .clip_tokens import WITHOUT, ClipModel, check_activation, weights_identity
from .images import ImageList, image_list, unique_images

PROMPT = "Describe this image in one short sentence."


class ClipEmbedder(TransformerMixin, BaseEstimator):
    """Tokens of an image and of its caption, by CLIP, concatenated.

    The projected class token, the projected patch tokens, and the projected tokens of the caption
    up to its end, so that image and words are in one space [1]_ [2]_. Everything is computed once
    and kept on disk in float16.

    Parameters
    ----------
    model : str, default "ViT-L-14-quickgelu"
        Name of an open_clip model; ``"local-dir:PATH"`` or ``"hf-hub:NAME"`` too.
    pretrained : str | None, default "openai"
        Name of its weights, or a file. Not used for ``local-dir:`` and ``hf-hub:``.
    captioner : str | callable | None, default "Qwen/Qwen2-VL-2B-Instruct"
        Who describes images that come without a caption: a model of the Hugging Face hub or its
        folder, or a callable from a list of PIL images to a list of str. ``None`` leaves words out.
    prompt : str, default "Describe this image in one short sentence."
        What the captioner is asked.
    max_new_tokens : int, default 40
        Longest caption, in its tokens.
    batch_size : int, default 8
        Images at once.
    device : str, default "auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    cache_dir : path-like | None, default None
        Where tokens and captions are kept. ``None`` takes the environment variable
        ``MNE_IMG2BRAIN_CACHE``, then the operating system's cache folder.
    n_jobs : int | None, default None
        Processes that describe and embed images, each with weights of its own, as in scikit-learn:
        ``None`` is 1, or what ``joblib.parallel_config`` says, which also takes a cluster. It is
        not saved.

    See Also
    --------
    mne_img2brain.GaborEmbedder : Tokens without weights.
    mne_img2brain.stimulus.Captioner : The model that describes images.

    References
    ----------
    .. [1] Radford et al. (2021). Learning transferable visual models from natural language
       supervision. ICML.
    .. [2] Xu et al. (2025). Image-to-brain signal generation for visual prosthesis with CLIP
       guided multimodal diffusion models. arXiv:2509.00787.

    Examples
    --------
    >>> from mne_img2brain import ClipEmbedder
    >>> ClipEmbedder(captioner=None)  # images without words
    ClipEmbedder(captioner=None)
    """

    def __init__(
        self,
        model: str = "ViT-L-14-quickgelu",
        pretrained: str | None = "openai",
        captioner: str | Callable | None = "Qwen/Qwen2-VL-2B-Instruct",
        *,
        prompt: str = PROMPT,
        max_new_tokens: int = 40,
        batch_size: int = 8,
        device: str = "auto",
        cache_dir: PathLike | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.captioner = captioner
        self.prompt = prompt
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.device = device
        self.cache_dir = cache_dir
        self.n_jobs = n_jobs

    def fit(self, images: list | np.ndarray, y: None = None) -> Self:
        """Check the parameters; the model is frozen."""
        from .._torch import resolve_device

        self._check()
        resolve_device(self.device)
        return self

    def _check(self) -> None:
        check_parameters(
            self, model=str, pretrained=(str, os.PathLike, None), prompt=str,
            max_new_tokens=Integer(1), batch_size=Integer(1), cache_dir=(str, os.PathLike, None),
            n_jobs=N_JOBS,
        )  # fmt: skip
        captioner = self.captioner
        if not (captioner is None or isinstance(captioner, str) or callable(captioner)):
            raise ValueError(
                f"captioner={captioner!r}; give the name or folder of a model, a callable, or None."
            )
        check_activation(self.model, self.pretrained)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, images: list | np.ndarray, captions: list[str] | None = None) -> np.ndarray:
        """Embed images and captions.

        Parameters
        ----------
        images : list | array, shape (n_images, height, width, 3)
            Images; those given many times are embedded once.
        captions : list of str | None, default None
            One per image, in place of the captioner's.

        Returns
        -------
        array, shape (n_images, n_tokens, n_features)
            Float32. Shorter captions are padded with NaN.

        Raises
        ------
        OSError
            If weights are not there and cannot be downloaded.
        ValueError
            If there is not one caption per image.
        """
        self._check()
        images = image_list(images)
        if captions is None:
            captions = self.captions(images)
        elif isinstance(captions, str) or len(captions) != len(images):
            raise ValueError(f"captions must be a list of {len(images)} str, one per image.")
        distinct, index, keys = unique_images(images)
        of_text = self._text_tokens(list(dict.fromkeys(captions or [])))
        longest = max(map(len, of_text.values()), default=0)
        order, starts = np.argsort(index, kind="stable"), np.cumsum([0, *np.bincount(index)])
        tokens = np.empty((0, 0, 0), np.float32)
        for row, array in self._image_tokens(distinct, keys):
            if not len(tokens):
                shape = (len(images), len(array) + longest, array.shape[1])
                tokens = scratch(shape, np.float32)
            tokens[order[starts[row] : starts[row + 1]], : len(array)] = array
        n_patches = tokens.shape[1] - longest
        for i, caption in enumerate(captions or []):
            text = of_text[caption]
            tokens[i, n_patches : n_patches + len(text)] = text
            tokens[i, n_patches + len(text) :] = np.nan
        return tokens

    def captions(self, images: list | np.ndarray) -> list[str] | None:
        """Describe images, as far as the cache does not; ``None`` where ``captioner=None``."""
        if self.captioner is None:
            return None
        distinct, index, keys = unique_images(images)
        if not isinstance(self.captioner, str):
            asked = self._ask(self.captioner, distinct, keys)
            return [asked[row] for row in index]
        settings = {
            "captioner": self.captioner,
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
        }
        cache = Cache(self.cache_dir, "captions", settings)
        texts = [cache.get_text(key) for key in keys]
        new = [row for row, text in enumerate(texts) if text is None]
        if new:
            logger.info(
                f"{len(new)} of {len(distinct)} distinct images have no caption yet; "
                f"{self.captioner} will write them. They are kept in "
                f"{cache_folder(self.cache_dir)}."
            )
            captioner = Captioner(
                self.captioner, self.prompt, self.max_new_tokens, self.batch_size, self.device
            )

            without = "captions= takes your own; captioner=None does without."
            for row, text in in_batches(
                captioner, distinct.rgb, new, self.batch_size, n_jobs=self.n_jobs,
                what="Captioning", without=without,
            ):  # fmt: skip
                texts[row] = text
                cache.put_text(keys[row], text)
        return [texts[row] for row in index]

    def _ask(self, captioner: Callable, images: ImageList, keys: list[str]) -> list[str]:
        """Captions of distinct images by a callable, that is asked once about each."""
        if getattr(self, "_asked", (None, None))[0] is not captioner:
            self._asked: tuple[Callable, dict[str, str]] = captioner, {}
        known = self._asked[1]
        new = [row for row, key in enumerate(keys) if key not in known]
        if new:
            written = list(captioner([images.rgb(row) for row in new]))
            if len(written) != len(new) or not all(isinstance(text, str) for text in written):
                raise ValueError(
                    f"The captioner returned {len(written)} captions for {len(new)} images; "
                    "it must return one str for each."
                )
            known.update(zip([keys[row] for row in new], written, strict=True))
        return [known[key] for key in keys]

    def _image_tokens(self, images: ImageList, keys: list[str]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the row and the tokens of distinct images, those in the cache first."""
        cache = Cache(self.cache_dir, "clip-image", self._settings())
        new = []
        for row, key in enumerate(keys):
            array = cache.get_array(key)
            if array is None:
                new.append(row)
            else:
                yield row, array
        if new:
            logger.info(
                f"{len(new)} of {len(images)} distinct images are new to {self.model}. Tokens are "
                f"kept in {cache_folder(self.cache_dir)}."
            )
            for row, array in in_batches(
                self._clip().image_tokens, images.rgb, new, self.batch_size, n_jobs=self.n_jobs,
                what="Embedding", without=WITHOUT,
            ):  # fmt: skip
                cache.put_array(keys[row], array)
                yield row, array.astype(np.float16)

    def _text_tokens(self, captions: list[str]) -> dict:
        """Tokens of distinct captions: dict of str -> array."""
        cache = Cache(self.cache_dir, "clip-text", self._settings())
        tokens = {caption: cache.get_array(caption) for caption in captions}
        new = [caption for caption, array in tokens.items() if array is None]
        for start in range(0, len(new), 256):
            batch = new[start : start + 256]
            for caption, array in zip(batch, self._clip().text_tokens(batch), strict=True):
                cache.put_array(caption, array)
                tokens[caption] = array.astype(np.float16)
        return tokens

    def _settings(self) -> dict:
        """Return what tokens depend on beside the image and the caption."""
        if getattr(self, "_identity", (None, None))[0] != (self.model, self.pretrained):
            identity = weights_identity(self.model, self.pretrained)
            self._identity = (self.model, self.pretrained), identity
        return {
            "model": self.model if not self.model.startswith("local-dir:") else "local",
            "pretrained": str(self.pretrained),
            "weights": self._identity[1],
            "version": 1,
        }

    def _clip(self) -> ClipModel:
        """Return the model, loaded when it is first needed."""
        wanted = self.model, self.pretrained, self.device
        if getattr(self, "_loaded", (None, None))[0] != wanted:
            self._loaded = wanted, ClipModel(self.model, self.pretrained, self.device)
        return self._loaded[1]

    def __getstate__(self) -> dict:
        """Leave the loaded model out of copies; it is loaded again when needed."""
        state = dict(super().__getstate__())
        state.pop("_loaded", None)
        state.pop("_asked", None)
        return state

    def get_state(self) -> dict:
        """Return the parameters but the processes, which are all there is to save."""
        state = self.get_params(deep=False)
        del state["n_jobs"]
        return state | {"cache_dir": None if self.cache_dir is None else str(self.cache_dir)}

    @classmethod
    def from_state(cls, state: dict) -> Self:
        """Make an embedder from :meth:`get_state`."""
        return cls(**state, n_jobs=None)  # a file does not start processes
