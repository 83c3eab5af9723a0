import { constants } from 'node:fs';

/**
 * Flags for opening a file whose type is not known yet. Without O_NONBLOCK, `open` of a FIFO waits for a writer and blocks a
 * thread of the thread pool. Without O_NOCTTY, a terminal can become the controlling terminal of the process (open(2)).
 * Windows has neither flag.
 */
export const OPEN_FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);
