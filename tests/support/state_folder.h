/* A folder of its own for a test, removed with everything in it; for tests that write files. */
#ifndef STATE_FOLDER_H
#define STATE_FOLDER_H

/* Absolute path, mode 0700. Remove and free it with state_folder_remove. */
char *state_folder_new(void);
void state_folder_remove(char *folder);

/* "folder/name"; caller frees. */
char *state_folder_path(const char *folder, const char *name);

/* The whole file, NUL-terminated; *ret_len may be NULL. Fails the test when it cannot be read. */
char *state_file_read(const char *path, size_t *ret_len);
void state_file_write(const char *path, const void *bytes, size_t n);

#endif
