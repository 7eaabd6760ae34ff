from hypothesis import given
from hypothesis import strategies as st

from torchtowers.models.defaults import embedding_dim, users_a_batch


@given(interactions=st.integers(1, 10**10), more=st.integers(0, 10**9), items=st.integers(1, 10**7))
def test_embeddings_grow_with_the_data_within_bounds(interactions: int, more: int, items: int) -> None:
    dim = embedding_dim(interactions, items)
    assert 32 <= dim <= 512
    assert dim & (dim - 1) == 0
    assert dim <= max(items, 32)
    assert embedding_dim(interactions + more, items) >= dim


@given(users=st.integers(1, 10**9))
def test_an_epoch_of_many_users_has_four_steps_or_more(users: int) -> None:
    size = users_a_batch(users)
    assert 16 <= size <= 512
    assert users < 64 or users / size >= 4
