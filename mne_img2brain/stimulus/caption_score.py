"""How well captions describe images, by CLIP."""

import numpy as np

from .clip_tokens import ClipModel
from .images import image_list
from .stimuli import check_captions


def clip_score(
    images: list | np.ndarray,
    captions: list[str],
    *,
    model: str = "ViT-L-14-quickgelu",
    pretrained: str = "openai",
    device: str = "auto",
    batch_size: int = 8,
    weight: float = 2.5,
) -> np.ndarray:
    r"""Return the CLIP score between each image and its caption.

    .. math:: s = w \max(\cos(E_I, E_C), 0)

    with :math:`E_I` and :math:`E_C` CLIP's embeddings of the image and the caption [1]_. (The
    original puts "A photo depicts" before captions; here they are taken as they are, as they
    are in the embedder.)

    Parameters
    ----------
    images : list | array, shape (n_images, height, width, 3)
        Images.
    captions : list of str
        One per image.
    model, pretrained : str, default "ViT-L-14-quickgelu" and "openai"
        As in :class:`~mne_img2brain.ClipEmbedder`.
    device : str, default "auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    batch_size : int, default 8
        Images at once.
    weight : float, default 2.5
        :math:`w`; 1 gives the cosine, cut at 0.

    Returns
    -------
    array, shape (n_images,)
        0 to ``weight``.

    Raises
    ------
    ValueError
        If there is not one caption per image.

    See Also
    --------
    Captioner : Describes images.

    References
    ----------
    .. [1] Hessel et al. (2021). CLIPScore: a reference-free evaluation metric for image
       captioning. EMNLP.

    Examples
    --------
    >>> from mne_img2brain.stimulus import clip_score
    >>> clip_score(["dog.jpg", "car.jpg"], ["a dog", "a car"]).shape  # doctest: +SKIP
    (2,)
    """
    images = image_list(images)
    captions = check_captions([captions] if isinstance(captions, str) else captions, len(images))
    clip = ClipModel(model, pretrained, device)
    scores = []
    for start in range(0, len(images), batch_size):
        some = slice(start, start + batch_size)
        loaded = [images.rgb(row) for row in range(len(images))[some]]
        seen = clip.image_tokens(loaded)[:, 0]
        read = np.stack([tokens[-1] for tokens in clip.text_tokens(captions[some])])
        cosine = (seen * read).sum(axis=1)
        cosine /= np.linalg.norm(seen, axis=1) * np.linalg.norm(read, axis=1)
        scores.append(weight * np.maximum(cosine, 0))
    return np.concatenate(scores)
