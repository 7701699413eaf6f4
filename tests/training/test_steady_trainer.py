import pytest

from helpers.training.trainer import train
from tests.training.training_cases import METHODS, tiny_pairs, tiny_settings


def stopped_at(step):
    """A listener that stops the run as Ctrl-C does, once it has heard of this step."""

    def listen(losses, _):
        if losses and losses[-1][0] >= step:
            raise KeyboardInterrupt

    return listen


@pytest.mark.usefixtures("hears_all")
def test_a_resumed_run_keeps_its_patience(tiny_model, tiny_tokenizer, tmp_path):
    wrong = tiny_pairs(tiny_tokenizer, turn=0)  # what the model knows by heart: training makes it worse

    def run(folder, listener=None):
        return train(
            tiny_model,
            tiny_tokenizer,
            tiny_pairs(tiny_tokenizer),
            wrong,
            METHODS["full"],
            tiny_settings(),
            tmp_path / folder,
            steps=40,
            evaluations=20,
            patience=3,
            listener=listener,
            show_progress=False,
        )

    whole = run("whole").record
    last = whole.losses[-1][0]
    assert whole.stopped_early and last < 40
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stopped_at(last - 1))  # after the second evaluation that was no better
    resumed = run("stopped").record
    assert resumed.losses == whole.losses and resumed.validation_losses == whole.validation_losses
    assert resumed.stopped_early and resumed.best_step == whole.best_step
