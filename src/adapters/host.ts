/** Hooks of the framework that a request and response of Node belong to. */
export interface Host {
  /** URL below the mount path, if the framework does not remove it. Default: the URL of the request. */
  readonly url?: string | undefined;
  /** Called directly before status and headers are sent. Copies the headers that the framework keeps to the response of Node. */
  beforeHeaders?(): void;
  /** Called directly after status and headers were sent. The framework must not respond from then on. */
  onHeadersSent?(): void;
}
