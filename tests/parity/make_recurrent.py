"""Makes `fixtures/recurrent.safetensors` with PyTorch: `python -m tests.parity.make_recurrent`."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.parity.recording import Recorder

STEPS, BATCH, WIDTH, HIDDEN = 4, 3, 2, 3
LENGTHS = torch.tensor([2, 4, 1])


def flat(y, state):
    return [y, *(state if isinstance(state, tuple) else (state,))]


def call(module, x, *rest):
    """Called with the input, then the states if any, then the lengths if they are integers."""
    lengths = rest[-1] if rest and not rest[-1].is_floating_point() else None
    states = rest if lengths is None else rest[:-1]
    state = None if not states else states[0] if len(states) == 1 else tuple(states)
    if lengths is None:
        return flat(*module(x, state))
    packed = pack_padded_sequence(x, lengths, batch_first=module.batch_first, enforce_sorted=False)
    y, state = module(packed, state)
    y, _ = pad_packed_sequence(y, batch_first=module.batch_first, total_length=STEPS)
    return flat(y, state)


def call_cell(module, x, *states):
    state = None if not states else states[0] if len(states) == 1 else tuple(states)
    new = module(x, state)
    return list(new) if isinstance(new, tuple) else new


def record_layer(recorder, name, module, *, states=False, lengths=False, batch_first=True):
    x = torch.randn((BATCH, STEPS, WIDTH) if batch_first else (STEPS, BATCH, WIDTH))
    rows = module.num_layers * (1 + module.bidirectional)
    given = [x]
    if states:
        given.append(torch.randn(rows, BATCH, module.proj_size or HIDDEN))
        if isinstance(module, nn.LSTM):
            given.append(torch.randn(rows, BATCH, HIDDEN))
    if lengths:
        given.append(LENGTHS)
    recorder.record(name, module, *given, call=call)


KINDS = {
    "tanh": lambda **options: nn.RNN(WIDTH, HIDDEN, **options),
    "relu": lambda **options: nn.RNN(WIDTH, HIDDEN, nonlinearity="relu", **options),
    "lstm": lambda **options: nn.LSTM(WIDTH, HIDDEN, **options),
    "gru": lambda **options: nn.GRU(WIDTH, HIDDEN, **options),
}
CELLS = {
    "tanh": lambda: nn.RNNCell(WIDTH, HIDDEN),
    "relu": lambda: nn.RNNCell(WIDTH, HIDDEN, nonlinearity="relu"),
    "lstm": lambda: nn.LSTMCell(WIDTH, HIDDEN),
    "gru": lambda: nn.GRUCell(WIDTH, HIDDEN),
}

# Layers, bidirectional, given states, lengths: what can meet in a pair, and all at once.
PAIRS = [
    (1, False, False, False),
    (1, True, True, False),
    (1, True, False, True),
    (2, False, True, True),
]
ALL_AT_ONCE = (2, True, True, True)
COMBINATIONS = {
    "tanh": [(2, False, True, True)],
    "relu": [(1, True, True, True)],
    "lstm": [*PAIRS, ALL_AT_ONCE],
    "gru": [*PAIRS, ALL_AT_ONCE],
}

if __name__ == "__main__":
    recorder = Recorder("recurrent")
    for kind, build in KINDS.items():
        for layers, bidirectional, states, lengths in COMBINATIONS[kind]:
            module = build(num_layers=layers, bidirectional=bidirectional, batch_first=True)
            name = f"{kind} {layers} {bidirectional} {states} {lengths}"
            record_layer(recorder, name, module, states=states, lengths=lengths)
        states = [torch.randn(BATCH, HIDDEN) for _ in range(2 if kind == "lstm" else 1)]
        x = torch.randn(BATCH, WIDTH)
        recorder.record(f"{kind} cell", CELLS[kind](), x, *states, call=call_cell)
    module = nn.GRU(WIDTH, HIDDEN, bias=False)
    record_layer(recorder, "gru time first", module, states=True, batch_first=False)
    projected = nn.LSTM(
        WIDTH, HIDDEN, num_layers=2, bidirectional=True, proj_size=2, batch_first=True
    )
    record_layer(recorder, "lstm projected", projected, states=True, lengths=True)
    recorder.save()
