#!/bin/sh
# After mnist.py and mnist_ext.py: did the pretrained layer stay as it was?  Exits with 0 if so.
set -e
warmstart show model hidden/bias
warmstart show model_ext hidden/bias
warmstart dump model mnist.npz
warmstart dump model_ext mnist_ext.npz
warmstart diff mnist.npz mnist_ext.npz --rule "keep hidden/*" --rule "keep norm/*"
