#!/bin/sh
# The pretrained layer's bias in both models, and then whether the whole layer stayed as it was.
warmstart show model mnist.hidden.bias
warmstart show model_ext mnist.hidden.bias
warmstart diff model model_ext --rule "keep mnist.hidden.*" --rule "keep mnist.norm.*"
