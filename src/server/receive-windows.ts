import type { MemoryPressureProvider } from '../memory/pressure.js';
import type { Limits } from './options.js';

/**
 * Minimum receive window: the initial window of HTTP/2 (RFC 9113, section 6.9.2), which is also the default of Node.
 */
const MIN_WINDOW_BYTES = 65_535;

/** HTTP/2 flow-control windows: number of bytes that a client may send before the server reads them. */
export interface ReceiveWindows {
  readonly stream: number;
  readonly session: number;
}

/**
 * Divides the memory for uploads among the streams of all sessions. Node reopens the window of a session as soon as
 * bytes arrive, even if the bytes are not read. Only the windows of the streams limit the memory that unread uploads
 * use. The uploads of a session share `sessionWindowBytes`, and all uploads share the memory headroom.
 */
export class UploadBudget {
  readonly #memory: MemoryPressureProvider;
  readonly #limits: Limits;
  #uploads = 0;

  constructor(memory: MemoryPressureProvider, limits: Limits) {
    this.#memory = memory;
    this.#limits = limits;
  }

  begin(): void {
    this.#uploads++;
  }

  end(): void {
    this.#uploads--;
  }

  /**
   * Returns the windows of a session with `uploads` uploads. The stream window is `streamWindowBytes` divided by a power
   * of two, so that it changes rarely.
   */
  windows(uploads: number): ReceiveWindows {
    const { level, headroomBytes } = this.#memory;
    if (level === 'critical') return { stream: MIN_WINDOW_BYTES, session: MIN_WINDOW_BYTES };
    const { streamWindowBytes, sessionWindowBytes, processes } = this.#limits;
    const divisor = level === 'constrained' ? 2 : 1;
    const session = Math.max(MIN_WINDOW_BYTES, Math.floor(sessionWindowBytes / divisor));
    const share = Math.min(
      session / Math.max(1, uploads),
      headroomBytes / processes / divisor / Math.max(1, this.#uploads),
    );
    let stream = Math.floor(streamWindowBytes / divisor);
    while (stream > share) stream = Math.floor(stream / 2);
    return { stream: Math.max(MIN_WINDOW_BYTES, stream), session };
  }
}
