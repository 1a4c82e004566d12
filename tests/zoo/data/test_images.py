import numpy as np
import pytest
from PIL import Image

from zoo.card import ClipSpec
from zoo.data.decode import DecodeError, Limits, probe, read_frames
from zoo.data.encode import write_video
from zoo.data.images import is_image
from zoo.data.loading import Reader
from zoo.data.sampling import eval_index

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def image(tmp_path):
    """Save pixels in a form and under a name."""

    def save(name, form, pixels=PIXELS, **options):
        Image.fromarray(pixels).save(tmp_path / name, form, **options)
        return tmp_path / name

    return save


@pytest.mark.parametrize("name", ["a.png", "b.PNG", "c.JPEG"])
def test_an_image_is_a_video_of_one_frame_whatever_its_true_kind(image, name):
    path = image(name, "PNG")
    assert np.array_equal(read_frames(path), PIXELS[None])
    index = probe(path)
    assert (index.num_frames, index.height, index.width, index.fps, index.codec) == (1, 6, 8, 0.0, "png")


def test_a_clip_repeats_the_image(image):
    path = image("a.png", "PNG")
    assert np.array_equal(read_frames(path, [0] * 4), np.stack([PIXELS] * 4))
    for sampling in ("uniform", "segments", "dense", "vjepa"):
        spec = ClipSpec(num_frames=4, sampling=sampling, img_size=4)
        clip = Reader()(path, lambda length, spec=spec: eval_index(spec, length, clip=0))
        assert np.array_equal(clip.numpy(), np.stack([PIXELS] * 4)), sampling


def test_a_jpeg_is_decoded_as_pillow_does(image):
    path = image("a.jpg", "JPEG", quality=90)
    assert np.array_equal(read_frames(path)[0], np.asarray(Image.open(path)))


def test_grey_and_cmyk_images_become_rgb(image, tmp_path):
    grey = image("g.png", "PNG", PIXELS[..., 0])
    assert np.array_equal(read_frames(grey)[0], np.repeat(PIXELS[..., :1], 3, axis=2))
    Image.fromarray(PIXELS).convert("CMYK").save(tmp_path / "c.jpg", "JPEG")
    assert read_frames(tmp_path / "c.jpg").shape == (1, 6, 8, 3)


def test_an_image_under_a_videos_name_stays_refused_and_a_video_under_an_images_name_is_read(image, tmp_path):
    with pytest.raises(DecodeError):
        read_frames(image("a.mp4", "JPEG"))
    write_video(tmp_path / "b.mp4", np.zeros((3, 16, 16, 3), np.uint8), fps=8)
    (tmp_path / "b.mp4").rename(tmp_path / "b.jpg")
    assert not is_image(str(tmp_path / "b.jpg"))
    assert len(read_frames(tmp_path / "b.jpg")) == 3


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda path: read_frames(path, [0, 1]), "outside 0..0"),
        (lambda path: read_frames(path, limits=Limits(frame_pixels=47)), "frame_pixels=47"),
        (lambda path: probe(path, limits=Limits(frame_pixels=47)), "frame_pixels=47"),
        (lambda path: read_frames(path, [0, 0], limits=Limits(output_pixels=95)), "output_pixels=95"),
    ],
)
def test_budgets_and_frame_numbers_hold_for_images(image, ask, words):
    with pytest.raises(DecodeError, match=words):
        ask(image("a.png", "PNG"))


def test_damaged_images_are_refused_by_name(image, tmp_path):
    path = image("a.png", "PNG", np.zeros((64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DecodeError, match=r"a\.png'?: damaged image"):
        read_frames(path)
    for name, content in (("b.jpg", b"\xff\xd8\xff" + bytes(20)), ("c.jpg", b""), ("d.jpg", b"this is no image")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DecodeError, match=name):
            read_frames(tmp_path / name)
    with pytest.raises(DecodeError, match="No such file"):
        read_frames(tmp_path / "none.jpg")
