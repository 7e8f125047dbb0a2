"""Evidence for and against a result, the verdict, and the predicted error."""
