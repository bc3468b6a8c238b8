"""The visualizer's transformer: who sees whom, tested by changing one thing and watching another."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wanimage.models.layout import (
    Chapter,
    Kind,
    Layout,
    Sample,
    Text,
    TextScope,
    Vision,
    lay_out,
    mask,
    may_see,
)
from wanimage.models.mot import Mot, MotConfig
from wanimage.models.rope import RopeConfig

CONFIG = replace(MotConfig.tiny(), heads=4, latent_channels=8)  # 2 key heads: the grouped path
GRID = (2, 3)
REFERENCE = Vision(1, 2, cells=(2, 4))


def chapter(text: int, references: int = 0) -> Chapter:
    pieces = tuple(piece for _ in range(references) for piece in (Text(1), REFERENCE, Text(1)))
    return Chapter((*pieces, Text(text)), GRID)


def sample(texts: tuple[int, ...] = (4,), references: int = 0, is_series: bool = True) -> Sample:
    chapters = tuple(chapter(text, references) for text in texts)
    return Sample(chapters, (REFERENCE.cells,) * references, is_series)


def awake(config: MotConfig = CONFIG) -> Mot:
    """A model whose every parameter matters (fresh ones answer zero)."""
    torch.manual_seed(0)
    mot = Mot(config)
    for parameter in mot.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return mot.requires_grad_(False)


class Inputs:
    """Random tensors that fit a layout."""

    def __init__(self, rows: list[list[Sample]], config: MotConfig = CONFIG, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.layout: Layout = lay_out(rows, config.rope, config.text_scope)
        size = lambda tokens: tokens.kind.shape  # noqa: E731
        batch, length = size(self.layout.context)
        shape = (config.depth, 2, batch, config.kv_heads, length, config.head_dim)
        self.text = torch.randn(*shape, generator=generator)
        self.clean = torch.randn(*size(self.layout.clean), config.latent_channels, generator=generator)
        self.x = torch.randn(*size(self.layout.noisy), config.latent_channels, generator=generator)
        self.t = torch.rand(batch, generator=generator)

    def run(self, mot: Mot) -> torch.Tensor:
        context = mot.context([(k, v) for k, v in self.text], self.layout, self.clean)
        return mot.velocity(self.x, self.t, context)

    def run_jointly(self, mot: Mot) -> torch.Tensor:
        return mot.velocity_jointly(self.x, self.t, [(k, v) for k, v in self.text], self.layout, self.clean)


ROWS = [
    [sample((4, 2, 3), references=2)],
    [sample((5,))],
    [sample((3,), references=1), sample((2, 2), is_series=False)],
]


@pytest.mark.parametrize("scope", TextScope)
def test_cached_context_equals_one_joint_stream(scope):
    config = replace(CONFIG, text_scope=scope)
    inputs, mot = Inputs(ROWS, config), awake(config)
    real = inputs.layout.noisy.mask
    torch.testing.assert_close(inputs.run(mot)[real], inputs.run_jointly(mot)[real], rtol=1e-4, atol=1e-4)


def test_context_serves_every_step():
    inputs, mot = Inputs(ROWS), awake()
    context = mot.context([(k, v) for k, v in inputs.text], inputs.layout, inputs.clean)
    for t in (1.0, 0.5, 0.0):
        inputs.t = torch.full_like(inputs.t, t)
        torch.testing.assert_close(mot.velocity(inputs.x, inputs.t, context), inputs.run(mot))


def clean_keys(inputs: Inputs, mot: Mot) -> torch.Tensor:
    """Keys and values that clean tokens hand to noisy ones, as the joint stream would compute them."""
    length = inputs.layout.context.kind.shape[1]
    context = mot.context([(k, v) for k, v in inputs.text], inputs.layout, inputs.clean)
    return torch.stack([torch.stack(pair)[..., length:, :] for pair in context.keys_values])


def test_clean_tokens_ignore_text():
    inputs, mot = Inputs([[sample((4, 3), references=2)]]), awake()
    before = clean_keys(inputs, mot)
    inputs.text += 1
    torch.testing.assert_close(clean_keys(inputs, mot), before)


def test_clean_tokens_ignore_noise_in_the_joint_mask():
    layout = lay_out(ROWS, CONFIG.rope, TextScope.CAUSAL)
    assert not mask(layout.clean, layout.noisy, TextScope.CAUSAL)[:, 0][layout.clean.mask].any()


def test_later_references_do_not_move_earlier_ones():
    inputs, mot = Inputs([[sample(references=2)]]), awake()
    before = clean_keys(inputs, mot)
    inputs.clean[0, 8:] += 1
    after = clean_keys(inputs, mot)
    torch.testing.assert_close(after[..., :8, :], before[..., :8, :])
    assert not torch.allclose(after[..., 8:, :], before[..., 8:, :])


def test_noisy_pictures_see_references_and_text():
    mot = awake()
    for part in ("clean", "text"):
        inputs = Inputs([[sample(references=1)]])
        before = inputs.run(mot)
        setattr(inputs, part, getattr(inputs, part) + 1)
        assert (inputs.run(mot) - before).abs().amax(dim=-1).min() > 1e-4


@pytest.mark.parametrize("is_series", [True, False])
def test_pictures_see_each_other_only_in_a_series(is_series):
    inputs, mot = Inputs([[sample((3, 3), is_series=is_series)]]), awake()
    before = inputs.run(mot)
    inputs.x[:, :6] += 1
    moved = (inputs.run(mot)[:, 6:] - before[:, 6:]).abs().max()
    assert (moved > 1e-4) == is_series


@pytest.mark.parametrize(("scope", "moves"), [(TextScope.OWN, [0]), (TextScope.CAUSAL, [0, 1])])
def test_text_moves_its_own_picture_and_later_ones_if_causal(scope, moves):
    config = replace(CONFIG, text_scope=scope)
    inputs, mot = Inputs([[sample((3, 3), is_series=False)]], config), awake(config)
    before = inputs.run(mot)
    inputs.text[..., :3, :] += 1
    moved = (inputs.run(mot) - before).abs().reshape(2, -1).amax(dim=1) > 1e-4
    assert moved.nonzero().flatten().tolist() == moves


def test_packed_samples_equal_separate_rows():
    mot = awake()
    first, second = sample((4, 2), references=1), sample((3,))
    packed = Inputs([[first, second]])
    alone = Inputs([[first], [second]], seed=1)
    split = {"text": 4 + 2 + 2 * 4, "clean": 8, "x": 12}
    alone.text[:, :, 0] = packed.text[:, :, 0, :, : split["text"]]
    alone.text[:, :, 1, :, :3] = packed.text[:, :, 0, :, split["text"] :]
    alone.clean[0] = packed.clean[0, : split["clean"]]
    alone.x[0], alone.x[1, :6] = packed.x[0, : split["x"]], packed.x[0, split["x"] :]
    alone.t[:] = packed.t[0]
    got, want = packed.run(mot), alone.run(mot)
    torch.testing.assert_close(got[0, :12], want[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[0, 12:], want[1, :6], rtol=1e-4, atol=1e-4)


def test_padding_of_text_and_latents_does_not_matter():
    inputs, mot = Inputs(ROWS), awake()
    real = inputs.layout.noisy.mask
    before = inputs.run(mot)[real]
    inputs.text = torch.where(inputs.layout.context.mask[:, None, :, None], inputs.text, torch.tensor(50.0))
    inputs.clean[~inputs.layout.clean.mask] = 50
    inputs.x[~real] = 50
    torch.testing.assert_close(inputs.run(mot)[real], before)
    assert inputs.run(mot).isfinite().all()


def test_moving_the_whole_frame_changes_nothing():
    inputs, mot = Inputs(ROWS), awake()
    before = inputs.run(mot)
    for tokens in (inputs.layout.context, inputs.layout.clean, inputs.layout.noisy):
        tokens.positions += torch.tensor([17.0, 0.0, 0.0])
    torch.testing.assert_close(inputs.run(mot), before, rtol=1e-3, atol=1e-3)
    inputs.layout.noisy.positions += torch.tensor([0.0, 2.0, 0.0])
    assert not torch.allclose(inputs.run(mot), before, atol=1e-2)


texts = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)
samples = st.builds(sample, texts, st.integers(0, 2), st.booleans())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(samples, min_size=1, max_size=2), min_size=1, max_size=2), st.sampled_from(TextScope)
)
def test_mask_equals_the_rules_pair_by_pair(rows, scope):
    layout = lay_out(rows, CONFIG.rope, scope)
    sets = (layout.context, layout.clean, layout.noisy)
    for queries in sets[1:]:
        for keys in sets:
            fast = mask(queries, keys, scope)[:, 0]
            for row, i, j in torch.ones_like(fast).nonzero().tolist():
                assert bool(fast[row, i, j]) == may_see(queries, i, keys, j, row, scope)


def test_layout_refuses_a_context_without_its_references():
    wrong = Sample((chapter(3),), references=((2, 4),))
    with pytest.raises(ValueError, match="references"):
        lay_out([[wrong]], RopeConfig(), TextScope.OWN)


def test_reference_latents_share_the_time_of_their_vision_tokens():
    layout = lay_out([[sample(references=2)]], CONFIG.rope, TextScope.OWN)
    times = sorted(set(layout.clean.positions[0, :, 0].tolist()))
    seen = layout.context.positions[0, :, 0].tolist()
    assert len(times) == 2
    assert all(seen.count(t) == 2 for t in times)
    assert (layout.clean.kind == Kind.CLEAN).all()


def test_fresh_model_answers_zero_and_learns():
    torch.manual_seed(0)
    mot, inputs = Mot(CONFIG), Inputs(ROWS)
    assert not inputs.run(mot).any()
    (inputs.run(mot) - inputs.x).square().mean().backward()
    assert mot.final.project.weight.grad.abs().sum() > 0


def test_config_survives_json():
    for config in (MotConfig.nano(), MotConfig.tiny(), MotConfig.paper()):
        assert MotConfig.from_json(config.to_json()) == config


def test_nano_has_the_size_it_claims():
    parameters = sum(p.numel() for p in Mot(MotConfig.nano()).parameters())
    assert 8.5e6 < parameters < 9.5e6


def test_flops_count_what_a_counter_sees():
    from torch.utils.flop_counter import FlopCounterMode

    inputs, mot = Inputs([[sample((4,), references=1)]]), awake()
    layout = inputs.layout
    context = mot.context([(k, v) for k, v in inputs.text], layout, inputs.clean)
    with FlopCounterMode(display=False) as counter:
        mot.velocity(inputs.x, inputs.t, context)
    lengths = [tokens.kind.shape[1] for tokens in (layout.context, layout.clean, layout.noisy)]
    formula = mot.flops(*lengths, steps=2) - mot.flops(*lengths, steps=1)
    attention = 4 * CONFIG.depth * CONFIG.heads * CONFIG.head_dim * lengths[2] * sum(lengths)
    linear = formula - attention  # the counter does not see the CPU's fused attention
    assert linear <= counter.get_total_flops() <= 1.6 * linear, (
        "the rest is modulation, whose size is per render"
    )


def test_pixel_steps_count_references_once():
    assert Mot.pixel_steps([(8, 8), (4, 16)], steps=10, references=[(8, 8)]) == 128 * 256 * 10 + 64 * 256


def test_fresh_connector_leaves_keys_and_values_alone():
    inputs, mot = Inputs(ROWS), Mot(CONFIG)
    for (k, v), (new_k, new_v) in zip(
        inputs.text, mot.connector(inputs.text, inputs.layout.context), strict=True
    ):
        assert torch.equal(k, new_k)
        assert torch.equal(v, new_v)


def test_connector_reads_both_ways_within_a_chapter_only():
    inputs, mot = Inputs([[sample((3, 3))]]), awake()
    before = [pair[0] for pair in mot.connector(inputs.text, inputs.layout.context)]
    inputs.text[..., 2, :] += 1  # the last token of the first chapter
    after = [pair[0] for pair in mot.connector(inputs.text, inputs.layout.context)]
    for old, new in zip(before, after, strict=True):
        moved = (new - old).abs().amax(dim=(0, 1, 3)) > 1e-4
        assert moved.tolist() == [True] * 3 + [False] * 3


def test_attention_starts_from_the_understanding_branch():
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from wanimage.models.mot import init_from_understanding

    text = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "intermediate_size": 32, "vocab_size": 64,
        "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2]},
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
    vision["deepstack_visual_indexes"] = [0]
    theirs = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision))
    layer = theirs.model.language_model.layers[1]
    torch.nn.init.normal_(layer.input_layernorm.weight)
    mot = Mot(CONFIG)
    init_from_understanding(mot, theirs)
    x = torch.randn(3, 32)
    torch.testing.assert_close(
        mot.blocks[1].attention.q(x),
        layer.self_attn.q_proj(x * layer.input_layernorm.weight),
        rtol=1e-4,
        atol=1e-5,
    )
    with pytest.raises(ValueError, match="queries"):
        init_from_understanding(Mot(replace(CONFIG, heads=2)), theirs)
    with pytest.raises(ValueError, match="layers"):
        init_from_understanding(Mot(replace(CONFIG, depth=3)), theirs)
