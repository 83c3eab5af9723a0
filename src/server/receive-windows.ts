import type { MemoryPressureProvider } from '../memory/pressure.js';
import type { Limits } from './options.js';

/** Node's own, and HTTP/2's (RFC 9113, 6.9.2). */
const SMALLEST_WINDOW = 65_535;

/** What clients may send before it is read, in bytes. */
export interface ReceiveWindows {
  readonly stream: number;
  readonly session: number;
}

/**
 * Decides how far clients may send ahead. Node gives a session's window back as soon as bytes arrive, read or not, so
 * that only the windows of streams bound what uploads that nobody reads can fill: they share what one session may
 * buffer, and all together the memory that is given for it.
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

  /** The windows of a session with so many uploads. In powers of two below the largest, so that they rarely change. */
  windows(uploads: number): ReceiveWindows {
    const { level, headroomBytes } = this.#memory;
    if (level === 'critical') return { stream: SMALLEST_WINDOW, session: SMALLEST_WINDOW };
    const { streamWindowBytes, sessionWindowBytes, processes } = this.#limits;
    const divisor = level === 'constrained' ? 2 : 1;
    const session = Math.max(SMALLEST_WINDOW, Math.floor(sessionWindowBytes / divisor));
    const share = Math.min(
      session / Math.max(1, uploads),
      headroomBytes / processes / divisor / Math.max(1, this.#uploads),
    );
    let stream = Math.floor(streamWindowBytes / divisor);
    while (stream > share) stream = Math.floor(stream / 2);
    return { stream: Math.max(SMALLEST_WINDOW, stream), session };
  }
}
