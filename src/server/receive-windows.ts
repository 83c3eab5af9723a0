import type { ServerHttp2Session } from 'node:http2';
import type { MemoryPressureProvider } from '../memory/pressure.js';
import { currentLimit } from '../util/limit.js';
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
      headroomBytes / currentLimit(processes) / divisor / Math.max(1, this.#uploads),
    );
    let stream = Math.floor(streamWindowBytes / divisor);
    while (stream > share) stream = Math.floor(stream / 2);
    return { stream: Math.max(MIN_WINDOW_BYTES, stream), session };
  }
}

/** Keeps the receive windows of one session at the sizes that the budget allows. */
export class SessionWindows {
  readonly #session: ServerHttp2Session;
  readonly #budget: UploadBudget;
  #uploads = 0;
  #sessionWindow = 0;
  #streamWindow: number;

  constructor(session: ServerHttp2Session, budget: UploadBudget, limits: Limits) {
    this.#session = session;
    this.#budget = budget;
    this.#streamWindow = limits.streamWindowBytes;
    this.update();
  }

  beginUpload(): void {
    this.#uploads++;
    this.#budget.begin();
    this.update();
  }

  endUpload(): void {
    this.#uploads--;
    this.#budget.end();
  }

  update(): void {
    if (this.#session.destroyed || this.#session.closed) return;
    const { stream, session } = this.#budget.windows(this.#uploads);
    if (session !== this.#sessionWindow) this.#session.setLocalWindowSize(session);
    this.#sessionWindow = session;
    // One change at a time, because a change takes effect when the client acknowledges it. It applies to open streams, too
    // (RFC 9113, 6.9.2).
    if (stream === this.#streamWindow || this.#session.pendingSettingsAck) return;
    this.#session.settings({ initialWindowSize: stream });
    this.#streamWindow = stream;
  }
}
