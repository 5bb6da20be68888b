import torch

from mspn.models.blocks import ConvNorm, ConvNormReLU, resize


def test_resizing_keeps_the_corners():
    # Corners stay; the middle is halfway between them. Without aligned corners it would be 0, 1, 2 only in the middle.
    features = torch.tensor([[0.0, 4.0], [8.0, 12.0]]).reshape(1, 1, 2, 2)

    resized = resize(features, 3, 5)

    expected = torch.tensor([[0.0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [8, 9, 10, 11, 12]]).reshape(1, 1, 3, 5)
    torch.testing.assert_close(resized, expected)


def test_resizing_to_the_same_size_changes_nothing():
    features = torch.rand(1, 2, 6, 5, generator=torch.Generator().manual_seed(1))

    assert torch.equal(resize(features, 6, 5), features)


def test_only_the_relu_block_clips_negative_values():
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(2, 3, 8, 8, generator=generator)
    plain, clipped = ConvNorm(3, 4, 3), ConvNormReLU(3, 4, 3)
    clipped.load_state_dict(plain.state_dict())

    assert plain(features).min() < 0
    torch.testing.assert_close(clipped(features), plain(features).clamp(min=0))


def test_convolutions_keep_the_size_and_have_no_bias():
    for kernel_size in (1, 3, 7):
        block = ConvNorm(3, 4, kernel_size)

        assert block(torch.zeros(1, 3, 8, 6)).shape == (1, 4, 8, 6)
        assert block.conv.bias is None
