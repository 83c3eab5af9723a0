/** Hooks of the framework to which a request and a response of Node belong. */
export interface Host {
  /** URL below the mount path, if the framework does not remove it. Default: the URL of the request. */
  readonly url?: string | undefined;
  /** URL as the client sent it, if the framework changes the URL of the request. Default: the URL of the request. */
  readonly originalUrl?: string | undefined;
  /**
   * Called directly before status and headers are sent. Copies headers that the framework stores elsewhere to the
   * response of Node.
   */
  beforeHeaders?(): void;
  /**
   * Called directly after status and headers were sent. Must ensure that the framework does not send another response.
   */
  onHeadersSent?(): void;
}
