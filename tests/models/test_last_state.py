import torch

from torchtowers.models.last_state import last_state


def test_the_last_real_place_counts_wherever_the_padding_is() -> None:
    states = torch.arange(24.0).view(4, 3, 2)
    present = torch.tensor(
        [[True, True, True], [True, False, False], [False, True, False], [False, False, False]]
    )
    assert last_state(states, present).tolist() == [[4.0, 5.0], [6.0, 7.0], [14.0, 15.0], [0.0, 0.0]]
    assert last_state(states[:1], present[:1]).tolist() == [[4.0, 5.0]]


def test_what_stands_at_padding_never_shows() -> None:
    states = torch.full((2, 2, 1), float("nan"))
    states[0, 0] = 3.0
    present = torch.tensor([[True, False], [False, False]])
    assert last_state(states, present).tolist() == [[3.0], [0.0]]
