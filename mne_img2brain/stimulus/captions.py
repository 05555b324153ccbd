"""Captions by a vision-language model; clip_tokens.py makes tokens of them."""

import secrets
from typing import Any

from PIL import Image

from .._parameters import Integer, check_parameters
from ._run import of_process
from .weights import announce, first_line

MAX_SIDE = 448  # pixels: what a caption needs, at a fraction of the cost of a photograph's all
_WITHOUT = (
    "captions= takes your own, captioner= a folder; captioner=None does without captions, and "
    "GaborEmbedder without weights."
)


class Captioner:
    """Describe images with an image-text-to-text model of the Hugging Face hub.

    Any model that :class:`transformers.AutoModelForImageTextToText` loads will do: Qwen2-VL [1]_,
    BLIP, GIT, LLaVA, Idefics3. Decoding is greedy: the same image has the same caption.

    Parameters
    ----------
    model : str, default "Qwen/Qwen2-VL-2B-Instruct"
        Name on the hub, or a local folder.
    prompt : str, default "Describe this image in one short sentence."
        What the model is asked.
    max_new_tokens : int, default 40
        Longest answer.
    batch_size : int, default 8
        Images described at once.
    device : str, default "auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.

    See Also
    --------
    clip_score : How well captions suit images.
    mne_img2brain.ClipEmbedder : Uses captions.

    References
    ----------
    .. [1] Wang et al. (2024). Qwen2-VL: enhancing vision-language model's perception of the world
       at any resolution. arXiv:2409.12191.

    Examples
    --------
    >>> from mne_img2brain.stimulus import Captioner
    >>> captioner = Captioner("Qwen/Qwen2-VL-2B-Instruct", device="cpu")
    >>> captioner([image])  # doctest: +SKIP
    ['A dog runs on the beach.']
    """

    def __init__(
        self,
        model: str = "Qwen/Qwen2-VL-2B-Instruct",
        prompt: str = "Describe this image in one short sentence.",
        max_new_tokens: int = 40,
        batch_size: int = 8,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.device = device
        self._loaded: Any = None
        self._key = secrets.token_hex()

    def __reduce__(self) -> tuple:
        """Send no weights to another process: there they are loaded, once."""
        parameters = self.model, self.prompt, self.max_new_tokens, self.batch_size, self.device
        return of_process, (Captioner, self._key, *parameters)

    def load(self) -> tuple:
        """Load model and processor, once; OSError where the weights are not there."""
        if self._loaded is None:
            import torch
            from transformers import AutoModelForImageTextToText, AutoProcessor

            from .._torch import resolve_device

            announce(self.model, without=_WITHOUT)
            device = resolve_device(self.device)
            dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
            try:
                processor = AutoProcessor.from_pretrained(self.model)
                model: Any = AutoModelForImageTextToText.from_pretrained(self.model, dtype=dtype)
            except (OSError, ValueError) as error:
                raise OSError(
                    f"The captioner {self.model!r} could not be loaded ({first_line(error)}). "
                    f"{_WITHOUT}"
                ) from error
            if getattr(processor, "tokenizer", None) is not None:
                processor.tokenizer.padding_side = "left"  # answers start where prompts end
            self._loaded = model.to(device).eval(), processor
        return self._loaded

    def __call__(self, images: list) -> list[str]:
        """Describe images: one caption each, without line breaks."""
        check_parameters(
            self, model=str, prompt=str, max_new_tokens=Integer(1), batch_size=Integer(1)
        )
        captions = []
        for start in range(0, len(images), self.batch_size):
            captions += self._describe(images[start : start + self.batch_size])
        return captions

    def _describe(self, images: list) -> list[str]:
        import torch

        model, processor = self.load()
        images = [_shrink(image) for image in images]
        content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
        messages = [{"role": "user", "content": content}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = processor(
            text=[text] * len(images), images=images, padding=True, return_tensors="pt"
        ).to(model.device)
        with torch.no_grad():
            tokens = model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        answers = tokens[:, inputs["input_ids"].shape[1] :]
        texts = processor.batch_decode(answers, skip_special_tokens=True)
        return [" ".join(answer.split()) for answer in texts]


def _shrink(image: Image.Image) -> Image.Image:
    """Bring the longer side down to what a caption needs."""
    scale = MAX_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = [max(28, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BICUBIC)
