/* jemalloc's settings, which it reads from this name, as part of the program wherever it is built.
 *
 * What is freed goes back to the system at once: after a flood the process is as small as before, and during one it
 * holds no more than it needs. It is unmapped (retain:false), because the kernel takes nothing back out of a mapping
 * that is locked. Costs some 8 us of processor a call. */
const char *_rjem_malloc_conf = "dirty_decay_ms:0,muzzy_decay_ms:0,retain:false";
