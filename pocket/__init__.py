"""The offline world: dialogues written for this project, and the small model pre-trained on them."""
