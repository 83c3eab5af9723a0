/** A connection as the server looks after it, whatever it speaks. */
export interface LiveConnection {
  readonly protocol: 'unknown' | 'http1' | 'http2';
  /** Whether its client has been asked to go, or will be with the next response. */
  readonly isRetiring: boolean;
  /** Ends what has run out of time. Called again and again, several times within the shortest time limit. */
  check(now: number): void;
  /** Asks the client to go elsewhere: what is in flight completes, nothing else begins. */
  retire(): void;
  /** Ends it now, whatever is in flight. */
  destroy(): void;
}
