//! Files whose text the kernel makes when they are read (Linux: fs/seq_file.c).
