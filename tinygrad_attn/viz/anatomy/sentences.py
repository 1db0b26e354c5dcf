"""What each step is called, and what happens in it, in English and in Korean."""

from __future__ import annotations

import re
from typing import NamedTuple

from .data import Text


class Words(NamedTuple):
    """Titles and sentences of a step, forward and backward."""

    forward: Text
    forwards: Text
    backward: Text
    backwards: Text


WORDS = {
    "projection": Words(
        Text("Queries, keys and values", "쿼리, 키, 값"),
        Text(
            "Three views of each token: what it looks for (Q), what it is found by (K), and what "
            "it hands over (V).",
            "토큰마다 벡터 셋을 만든다. 무엇을 찾는지(Q), 무엇으로 검색되는지(K), 무엇을 "
            "건네주는지(V)를 나타낸다.",
        ),
        Text("Queries, keys and values, backward", "쿼리, 키, 값의 역전파"),
        Text(
            "X was used three times, so it collects three gradients; a weight matrix collects from "
            "every token of every example.",
            "X는 세 번 쓰였으므로 그래디언트 셋을 더해 받는다. 가중치 행렬은 모든 예제의 모든 "
            "토큰에서 그래디언트를 모은다.",
        ),
    ),
    "rotation": Words(
        Text("Turn by position", "위치만큼 회전"),
        Text(
            "Pairs of features of Q and K are turned by angles that grow with the position, so "
            "that a score sees positions only by how far apart they are.",
            "Q와 K의 성분을 둘씩 묶어 위치에 비례하는 각도로 돌린다. 그러면 점수에는 위치가 "
            "아니라 위치의 차이만 드러난다.",
        ),
        Text("Turn back", "거꾸로 회전"),
        Text(
            "A rotation keeps lengths: the gradient is turned back by the same angle and becomes "
            "neither larger nor smaller.",
            "회전은 길이를 바꾸지 않는다. 그래디언트는 같은 각도만큼 거꾸로 돌 뿐 커지지도 "
            "작아지지도 않는다.",
        ),
    ),
    "raw": Words(
        Text("Raw scores", "원점수(내적)"),
        Text(
            "Every query meets every key; their product is large where both point the same way.",
            "모든 쿼리가 모든 키와 만난다. 둘의 내적은 방향이 비슷할수록 크다.",
        ),
        Text("Raw scores, backward", "원점수의 역전파"),
        Text(
            "A query's gradient is a sum of keys with dR as factors; as each row of dR sums to 0, "
            "only differences between keys count.",
            "쿼리의 그래디언트는 dR을 계수로 하여 키를 더한 것이다. dR의 각 행은 합이 0이므로 "
            "키들 사이의 차이만 의미가 있다.",
        ),
    ),
    "scores": Words(
        Text("Scale", "크기 조정"),
        Text(
            "Divided by √d, the scores of wide heads start out no wider spread than those of "
            "narrow ones, so softmax is not saturated before anything is learnt.",
            "√d로 나누면 헤드가 넓어도 학습 초기의 점수가 더 벌어지지 않아, 배우기도 전에 "
            "소프트맥스가 포화되는 일이 없다.",
        ),
        Text("Scale, backward", "크기 조정의 역전파"),
        Text(
            "The same constant once more: going back, the gradient is divided by √d too.",
            "같은 상수를 한 번 더 만난다. 되돌아가는 그래디언트도 √d로 나뉜다.",
        ),
    ),
    "mask": Words(
        Text("Mask", "마스크"),
        Text(
            "Where a query may not look −∞ is added, and softmax turns it into the weight 0; "
            "elsewhere 0 is added, or a bias that depends on the two places.",
            "쿼리가 보면 안 되는 자리에는 −∞를 더한다. 소프트맥스를 지나면 그 가중치는 0이 된다. "
            "나머지 자리에는 0이나, 두 위치에 따라 정해지는 편향을 더한다.",
        ),
        Text("Mask, backward", "마스크의 역전파"),
        Text(
            "Adding a constant changes no gradient; where the mask hides a key, dS′ is 0 already, "
            "for P is.",
            "상수를 더해도 그래디언트는 바뀌지 않는다. 가려진 자리에서는 P가 0이므로 dS′도 이미 "
            "0이다.",
        ),
    ),
    "softmax": Words(
        Text("Softmax", "소프트맥스"),
        Text(
            "Each row becomes weights that sum to 1: how a query shares its attention among the "
            "keys.",
            "각 행은 합이 1인 가중치가 된다. 쿼리가 키들에 주의를 나누는 비율이다.",
        ),
        Text("Softmax, backward", "소프트맥스의 역전파"),
        Text(
            "A score's gradient is its weight times how far dP lies above the row's mean under P: "
            "rows of dS′ sum to 0, and where P is near 0 or 1 hardly anything comes through.",
            "점수의 그래디언트는 dP가 P로 가중한 평균보다 얼마나 큰가에 그 가중치를 곱한 것이다. "
            "그래서 dS′의 각 행은 합이 0이고, P가 0이나 1에 가까운 자리로는 거의 아무것도 "
            "지나가지 못한다.",
        ),
    ),
    "context": Words(
        Text("Weighted values", "값의 가중 평균"),
        Text(
            "Each query takes a mean of the values, weighted by its attention.",
            "쿼리마다 값들을 어텐션 가중치로 평균한다.",
        ),
        Text("Weighted values, backward", "값의 가중 평균의 역전파"),
        Text(
            "Here the gradient parts: dV goes straight to each value, as loudly as it was read; "
            "dP asks what each value would contribute, and goes on to the softmax.",
            "여기서 그래디언트가 갈라진다. dV는 값이 읽힌 비중만큼 그 값으로 곧장 가고, dP는 각 "
            "값이 얼마나 기여하는지를 재어 소프트맥스로 간다.",
        ),
    ),
    "concat": Words(
        Text("Heads side by side", "헤드 이어 붙이기"),
        Text(
            "The results of the heads are laid side by side; no number changes.",
            "헤드의 결과를 옆으로 이어 붙인다. 수는 하나도 바뀌지 않는다.",
        ),
        Text("Heads apart", "헤드 나누기"),
        Text(
            "Each head gets its own columns of dO and nothing else: from here to Q, K and V the "
            "heads do not mix.",
            "헤드마다 dO에서 제 열만 받는다. 여기서 Q, K, V까지 헤드는 서로 섞이지 않는다.",
        ),
    ),
    "output": Words(
        Text("Output projection", "출력 투영"),
        Text(
            "Wo weighs the heads' results and adds them up: the one place where heads meet.",
            "Wo가 헤드의 결과에 비중을 두어 더한다. 헤드들이 만나는 곳은 여기뿐이다.",
        ),
        Text("Output projection, backward", "출력 투영의 역전파"),
        Text(
            "dY comes from the rest of the model; Wo says how much of it each head gets to hear.",
            "dY는 모델의 나머지에서 온다. 그것이 헤드마다 얼마나 전해지는지는 Wo가 정한다.",
        ),
    ),
}
CROSS = Text(
    "X hears from the queries alone; M was used twice, so it collects the gradients of keys and "
    "values.",
    "X에는 쿼리를 거친 그래디언트만 온다. M은 두 번 쓰였으므로 키와 값의 그래디언트를 더해 받는다.",
)
SHARED = Text(
    " Keys that several query heads share collect from all of them.",
    " 여러 쿼리 헤드가 함께 쓰는 키는 그 헤드 모두에게서 그래디언트를 모은다.",
)
IN_FORMULAS = {
    "each row by itself": "행마다 따로",
    " over all tokens": ", 모든 토큰에 걸친 합",
    " over the heads h that share it": ", 함께 쓰는 헤드 h에 걸친 합",
    "heads side by side": "헤드를 옆으로 이어 붙임",
    "reshaped back": "헤드별 모양으로 되돌림",
    "axes put back": "축을 되돌림",
}


def korean(formula: str) -> str:
    """A formula with the few words in it in Korean."""
    for english, words in IN_FORMULAS.items():
        formula = formula.replace(english, words)
    return re.sub(r" for each pair \((.+?)\) in (\w+)", r", \2의 각 쌍 (\1)", formula)
