"""Models and circuits of sparse_pretrain. Not yet tried on a released one."""
