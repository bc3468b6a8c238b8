"""Each term of the VAE's loss: what it must punish, and what it must not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.families import build_family
from training.vae.adversarial import Critic, balance, hinge
from training.vae.config import LossConfig
from training.vae.distillation import alignment_loss, feature_distance
from training.vae.loss import boundary_weight, reconstruction_loss, tint_steps
from training.vae.objective import Objective, Trainee, over
from training.vae.teacher import SEEN_PX, Teacher, window
from wanimage.models.vae import Vae, VaeConfig

SILENT = LossConfig(
    composite=0, absolute=0, alpha=0, gradient=0, band=0, divergence=0, noise=0,
)  # fmt: skip


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def half_covered(size: int = 32) -> Tensor:
    """Premultiplied planes: the left half is an opaque red, the right half is clear."""
    planes = torch.full((1, 4, size, size), -1.0)
    planes[:, (0, 3), :, : size // 2] = 1
    return planes


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return Teacher.load(build_family(tmp_path_factory.mktemp("family")).path)


def term(config: LossConfig, prediction: Tensor, target: Tensor) -> float:
    return float(reconstruction_loss(prediction, target, config)[0])


def test_the_composite_term_punishes_colour_that_shows_and_not_colour_and_opacity_that_cancel() -> None:
    config = replace(SILENT, composite=1)
    target = torch.zeros(1, 4, 8, 8)
    shows = target.clone()
    shows[:, :3] += 0.2
    assert term(config, shows, target) > 0
    whiter = target.clone()
    whiter[:, 3] += 0.2  # more opaque, as white as the ground it hides: unseen over white, seen over black
    whiter[:, :3] += 0.2
    assert term(config, whiter, target) < term(config, shows, target)
    assert term(config, target, target) == 0


def test_the_alpha_term_punishes_opacity_and_not_colour() -> None:
    config = replace(SILENT, alpha=1)
    target = torch.zeros(1, 4, 8, 8)
    fainter, redder = target.clone(), target.clone()
    fainter[:, 3] -= 0.5
    redder[:, 0] += 0.5
    assert term(config, fainter, target) == pytest.approx(0.25)
    assert term(config, redder, target) == 0


def test_the_gradient_term_punishes_a_blurred_edge_and_not_a_shifted_level() -> None:
    config = replace(SILENT, gradient=1)
    target = half_covered()
    blurred = torch.nn.functional.avg_pool2d(target, 5, stride=1, padding=2, count_include_pad=False)
    assert term(config, blurred, target) > 0.005
    assert term(config, target + 0.1, target) == pytest.approx(0, abs=1e-6)


def test_the_boundary_weight_lifts_errors_at_the_edge_of_opacity_and_not_those_inside() -> None:
    config = replace(SILENT, absolute=1, band=4)
    target = half_covered()
    at_edge, inside = target.clone(), target.clone()
    at_edge[..., 15] -= 0.4
    inside[..., 4] -= 0.4
    assert term(config, at_edge, target) > 4 * term(config, inside, target)
    assert float(boundary_weight(torch.ones(1, 1, 8, 8), config).amax()) == 1, "opaque pictures have no edge"


def test_the_tint_term_punishes_a_step_between_cells_and_not_one_that_the_picture_has() -> None:
    target = torch.zeros(1, 4, 32, 32)
    target[..., 16:] = 0.5  # an edge right on the border of two cells
    stepped = target.clone()
    stepped[:, :, 16:] += 0.2
    assert float(tint_steps(stepped, target, 16).mean()) > 0.05
    assert float(tint_steps(target, target, 16).sum()) == 0
    assert len(tint_steps(stepped, random(1, 4, 32, 32), 16)) == 0, "a textured picture has no flat places"


def test_distillation_punishes_latents_that_point_elsewhere_and_forgives_the_margin() -> None:
    features = random(2, 6, 4, 4) - 0.5
    assert float(alignment_loss(3 * features, features, 0.5, 0.25)) == pytest.approx(0, abs=1e-6)
    assert float(alignment_loss(-features, features, 0.5, 0.25)) > 1
    bent = features + 0.1 * (random(2, 6, 4, 4, seed=1) - 0.5)
    assert float(alignment_loss(bent, features, 0.5, 0.25)) == pytest.approx(0, abs=1e-6)
    assert float(alignment_loss(bent, features, 0.0, 0.0)) > 0


def test_the_distance_matrix_sees_cells_that_became_alike() -> None:
    features = torch.eye(4).view(1, 4, 2, 2)  # four cells, all different
    alike = torch.ones(1, 4, 2, 2)
    assert float(alignment_loss(alike, features, 1.0, 0.25)) == pytest.approx((1 - 0.25) * 12 / 16)
    assert float(alignment_loss(features, features, 1.0, 0.25)) == 0


def test_the_perceptual_term_punishes_another_picture_and_not_the_same_at_any_scale_of_features(
    teacher: Teacher,
) -> None:
    x, y = (teacher.features(2 * random(1, 3, 64, 64, seed=seed) - 1) for seed in (0, 1))
    assert float(feature_distance(x, y)) > 1e-3
    assert float(feature_distance(x, [2 * layer for layer in x])) == pytest.approx(0, abs=1e-5)


def test_the_teacher_sees_each_patch_where_it_is(teacher: Teacher) -> None:
    picture = torch.zeros(1, 3, 64, 96)
    changed = picture.clone()
    changed[:, :, 32:48, 64:80] = 1  # the patch in row 2, column 4
    before, after = teacher.features(picture)[0], teacher.features(changed)[0]
    difference = (after - before).square().sum(1)[0]
    assert difference.shape == (4, 6)
    assert divmod(int(difference.argmax()), 6) == (2, 4)


def test_the_teacher_passes_gradients_to_the_picture_and_takes_none(teacher: Teacher) -> None:
    picture = random(1, 3, 32, 32).requires_grad_()
    teacher.features(picture)[-1].square().sum().backward()
    assert picture.grad is not None
    assert float(picture.grad.abs().sum()) > 0
    assert not any(p.requires_grad for p in teacher.visual.parameters())


def test_a_family_without_a_vision_tower_says_which_stage_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.understanding --export"):
        Teacher.load(tmp_path)


def test_windows_lie_on_cells_and_inside() -> None:
    generator = torch.Generator().manual_seed(0)
    assert window(96, generator) == slice(0, 96)
    seen = {window(512, generator).start for _ in range(200)}
    assert seen == set(range(0, 512 - SEEN_PX + 1, 32))


def test_hinge_punishes_a_critic_that_errs_and_not_one_that_is_sure() -> None:
    sure, fooled = torch.full((1, 1, 2, 2), 2.0), torch.full((1, 1, 2, 2), -2.0)
    assert float(hinge(real=sure, drawn=fooled)) == 0
    assert float(hinge(real=fooled, drawn=sure)) == 6


def test_critic_and_decoder_learn_from_disjoint_gradients() -> None:
    critic, drawn = Critic(width=8), random(2, 4, 32, 32).requires_grad_()
    critic.frozen(drawn).mean().backward()
    assert drawn.grad is not None
    assert all(p.grad is None for p in critic.parameters())
    drawn.grad = None
    hinge(critic(random(2, 4, 32, 32, seed=1)), critic(drawn.detach())).backward()
    assert drawn.grad is None
    assert all(p.grad is not None for p in critic.parameters())


def test_the_balance_makes_two_terms_pull_equally() -> None:
    weight = torch.ones(3, requires_grad=True)
    assert float(balance((6 * weight).sum(), (2 * weight).sum(), weight)) == pytest.approx(3, rel=1e-3)


def test_the_anchor_punishes_latents_that_moved_and_only_those() -> None:
    torch.manual_seed(0)
    earlier, pictures = Vae(VaeConfig.tiny()), 2 * random(2, 4, 32, 32) - 1
    config = replace(SILENT, anchor=1.0)
    trainee = Trainee(earlier, config)
    same, _ = Objective(config, earlier=earlier)(trainee, pictures, torch.Generator().manual_seed(0))
    assert same.item() == 0
    torch.manual_seed(1)
    moved, numbers = Objective(config, earlier=Vae(VaeConfig.tiny()))(
        trainee, pictures, torch.Generator().manual_seed(0)
    )
    assert moved.item() == pytest.approx(numbers["anchor"])
    assert moved.item() > 0.01


def test_all_terms_together_reach_every_part_and_repeat_with_their_generator(teacher: Teacher) -> None:
    torch.manual_seed(0)
    config = LossConfig(perceptual=1, distillation=0.1, adversarial=0.1, critic_first=0)
    pictures = 2 * random(2, 4, 64, 96) - 1

    def once(seed: int) -> tuple[Trainee, float, dict[str, float]]:
        torch.manual_seed(0)
        trainee = Trainee(Vae(VaeConfig.tiny()), config, teacher.width)
        loss, numbers = Objective(config, teacher)(trainee, pictures, torch.Generator().manual_seed(seed))
        loss.backward()  # type: ignore[no-untyped-call]
        return trainee, loss.item(), numbers

    trainee, loss, numbers = once(1)
    assert {"perceptual", "distillation", "critic", "adversarial"} <= numbers.keys()
    assert once(1)[1] == loss != once(2)[1]
    assert trainee.projection is not None
    assert trainee.projection.weight.grad is not None
    assert trainee.vae.encoder.head.weight.grad is not None
    assert (trainee.pulls > 0).all()


def test_a_term_without_what_it_needs_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher"):
        Objective(LossConfig(distillation=0.1))
    with pytest.raises(ValueError, match="anchor"):
        Objective(LossConfig(anchor=0.1))


def test_over_composites_on_the_ground() -> None:
    ground = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    seen = over(half_covered(), ground)
    torch.testing.assert_close(seen[0, :, 0, 0], torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(seen[0, :, 0, -1], 2 * ground.flatten() - 1)
