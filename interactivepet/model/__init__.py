"""A trained model as one thing: a file or folder that predicts anywhere, without the task that it was trained on."""
