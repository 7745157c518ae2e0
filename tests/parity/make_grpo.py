"""GRPO arithmetic in float64, written from its formulas: advantages, losses, gradients, metrics.

The gradients come from torch autograd. Everything goes to fixtures/grpo/grpo.json.
"""

import itertools

from common import FIXTURES, fresh, generator, one_thread, write_json

import torch

GROUPS, G, T, V = 3, 4, 6, 7
N = GROUPS * G
MAX_LENGTH = 8  # max_completion_length; the longest row here is shorter
WHOLE_BATCH_TOKENS = 95.0  # completion tokens of the whole generation batch, these rows included
TEMPERATURE = 0.7


def scene(seed):
    """Rewards, masks, truncation flags and the three log-probabilities of each token."""
    rng = generator(seed)
    draw = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)
    lengths = torch.randint(1, T + 1, (N,), generator=rng)
    lengths[0], lengths[1] = T, 1
    mask = (torch.arange(T)[None] < lengths[:, None]).double()
    logits = 1.5 * draw(N, T, V)
    chosen = torch.randint(0, V, (N, T), generator=rng)
    logp = (logits / TEMPERATURE).log_softmax(-1).gather(-1, chosen[..., None])[..., 0]
    rewards = torch.rand(N, generator=rng, dtype=torch.float64).mul(4).round().div(4)
    rewards[G:2 * G] = 0.5  # a group without any difference
    return dict(
        logits=logits, chosen=chosen, logp=logp, old_logp=logp + 0.5 * draw(N, T),
        ref_logp=logp + 0.4 * draw(N, T), rewards=rewards, mask=mask, lengths=lengths,
        truncated=lengths >= T,
    )


def advantages(rewards, scale):
    """Reward minus the group mean, over an unbiased deviation plus 1e-4."""
    groups = rewards.view(GROUPS, G)
    centred = groups - groups.mean(1, keepdim=True)
    if scale == "group":
        centred = centred / (groups.std(1, keepdim=True) + 1e-4)
    elif scale == "batch":
        centred = centred / (rewards.std() + 1e-4)
    return centred.flatten()


def ratio(logp, old, mask, level):
    delta = logp - old
    if level == "sequence":
        delta = ((delta * mask).sum(1) / mask.sum(1).clamp(min=1))[:, None]
    return delta.exp()


def k3(logp, ref):
    return (ref - logp).exp() - (ref - logp) - 1


def token_loss(logp, s, adv, mask, level, low, high, beta, kind="grpo"):
    rho = ratio(logp, s["old_logp"], mask, level)
    if kind == "cispo":  # the capped ratio is a constant weight
        loss = -rho.clamp(max=1 + high).detach() * adv[:, None] * logp
        return loss + beta * k3(logp, s["ref_logp"]) if beta else loss
    worst = torch.min(rho * adv[:, None], rho.clamp(1 - low, 1 + high) * adv[:, None])
    loss = -worst.expand(N, T)
    return loss + beta * k3(logp, s["ref_logp"]) if beta else loss


def reduce(loss, mask, kind):
    if kind == "grpo":
        return ((loss * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()
    total = (loss * mask).sum()
    if kind == "bnpo":
        return total / mask.sum().clamp(min=1)
    if kind == "dr_grpo":
        return total / (N * MAX_LENGTH)
    return total / WHOLE_BATCH_TOKENS  # dapo, cispo


def clip_metrics(logp, s, adv, mask, level, low, high, kind):
    """Share of tokens (token level) or of sequences (sequence level) on the clipped side."""
    rho, a = ratio(logp, s["old_logp"], mask, level), adv[:, None]
    is_low, is_high = (rho < 1 - low) & (a < 0), (rho > 1 + high) & (a > 0)
    if kind == "cispo":
        is_low = torch.zeros_like(is_low)

    def share(flags):
        flags = flags.double()
        return float(flags.mean() if level == "sequence" else (flags * mask).sum() / mask.sum().clamp(min=1))

    return {"low_mean": share(is_low), "high_mean": share(is_high), "region_mean": share(is_low | is_high)}


def case(s, kind, level, scale, low, high, beta, mask_truncated, on_policy):
    s = dict(s)
    mask = s["mask"] * (~s["truncated"])[:, None] if mask_truncated else s["mask"]
    if on_policy:
        s["old_logp"] = s["logp"]
    logp = s["logp"].clone().requires_grad_()
    adv = advantages(s["rewards"], scale)
    loss = token_loss(logp, s, adv, mask, level, low, high, beta, kind)
    reduced = reduce(loss, mask, kind)
    (grad,) = torch.autograd.grad(reduced, logp)
    if not torch.isfinite(grad).all() or float(grad.abs().max()) == 0.0:
        raise ValueError("a case without a gradient")
    made = dict(
        loss_type=kind, importance_level=level, scale_rewards=scale, epsilon_low=low, epsilon_high=high,
        beta=beta, mask_truncated=mask_truncated, on_policy=on_policy, advantages=adv.tolist(),
        token_loss=(loss.detach() * mask).tolist(), loss=float(reduced.detach()), grad_logp=grad.tolist(),
        clip_ratio=clip_metrics(s["logp"], s, adv, mask, level, low, high, kind),
    )
    if beta:
        made["kl"] = float((k3(s["logp"], s["ref_logp"]) * mask).sum() / mask.sum())
    return made


def logit_gradient(s):
    """The chain down to the logits for one case: temperature and log-softmax included."""
    logits = s["logits"].clone().requires_grad_()
    scaled = (logits / TEMPERATURE).log_softmax(-1)
    logp = scaled.gather(-1, s["chosen"][..., None])[..., 0]
    adv = advantages(s["rewards"], "group")
    loss = reduce(token_loss(logp, s, adv, s["mask"], "token", 0.2, 0.28, 0.04), s["mask"], "dapo")
    (grad,) = torch.autograd.grad(loss, logits)
    entropy = -(scaled.exp() * scaled).sum(-1)
    return dict(
        loss_type="dapo", importance_level="token", scale_rewards="group", epsilon_low=0.2, epsilon_high=0.28,
        beta=0.04, loss=float(loss.detach()), grad_logits=grad.tolist(), entropy=entropy.detach().tolist(),
        mean_entropy=float((entropy.detach() * s["mask"]).sum() / s["mask"].sum()),
    )


def main():
    s = scene(4)
    cases = [
        case(s, kind, level, "group", 0.2, 0.28, beta, cut, False)
        for kind, level, beta, cut in itertools.product(
            ("grpo", "bnpo", "dr_grpo", "dapo", "cispo"), ("token", "sequence"), (0.0, 0.04), (False, True)
        )
    ]
    for scale in ("batch", "none"):
        for level in ("token", "sequence"):
            cases.append(case(s, "grpo", level, scale, 0.1, 0.3, 0.1, False, False))
    cases.append(case(s, "dapo", "token", "group", 0.2, 0.2, 0.0, False, True))
    cases.append(case(s, "grpo", "sequence", "group", 0.2, 0.2, 0.0, False, True))
    inputs = {k: v.tolist() for k, v in s.items()}
    inputs |= dict(
        groups=GROUPS, generations=G, max_completion_length=MAX_LENGTH,
        whole_batch_tokens=WHOLE_BATCH_TOKENS, temperature=TEMPERATURE,
        reward_std_zero_groups=int((s["rewards"].view(GROUPS, G).std(1) == 0).sum()),
    )
    scaled = {scale: advantages(s["rewards"], scale).tolist() for scale in ("group", "batch", "none")}
    value = dict(inputs=inputs, advantages=scaled, cases=cases, logits_case=logit_gradient(s))
    write_json(fresh(FIXTURES / "grpo") / "grpo.json", value, indent=None)
    print(len(cases), "cases", {c["loss_type"] + c["importance_level"]: c["clip_ratio"] for c in cases})


if __name__ == "__main__":
    one_thread()
    main()
