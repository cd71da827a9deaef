"""Questions that were answered by training: what simulated pictures, sparsity, quantisation and label margins do."""
