"""Protects: everyone judges every opening once, half of either arm is real, and hands go round."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tony.evals.quiz.deal import HANDS, deal


@given(num_items=st.integers(1, 30), participant=st.integers(1, 1000), seed=st.integers(0, 2**40))
def test_every_item_once_in_hands_of_one_size(num_items, participant, seed):
    shown = deal(num_items, participant, seed)
    assert sorted(s.item for s in shown) == list(range(num_items))
    sizes = Counter((s.arm, s.is_machine) for s in shown)
    assert all(sizes[hand] in (num_items // 4, -(-num_items // 4)) for hand in HANDS)
    assert shown == deal(num_items, participant, seed)


def test_four_participants_see_an_item_in_four_hands():
    for item in range(24):
        hands = {
            (s.arm, s.is_machine) for number in (5, 6, 7, 8) for s in deal(24, number, 0) if s.item == item
        }
        assert len(hands) == 4


def test_orders_differ_and_say_nothing_of_the_truth():
    orders = [tuple(s.item for s in deal(24, number, 0)) for number in range(1, 101)]
    assert len(set(orders)) == 100
    # At every place about half of 2000 participants see a real text: 5 standard deviations are 5.6%.
    shares = [0.0] * 24
    for number in range(1, 2001):
        for place, shown in enumerate(deal(24, number, 7)):
            shares[place] += shown.is_machine / 2000
    assert all(abs(share - 0.5) < 0.056 for share in shares)
