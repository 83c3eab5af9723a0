/** What a framework adds to the request and the response of Node that it is built on. */
export interface Host {
  /** The URL below the mount, where the framework leaves the request's own as it was. Default: the request's own. */
  readonly url?: string | undefined;
  /** Called directly before status and headers are sent: puts what the framework keeps by itself on Node's response. */
  prepare?(): void;
  /** Called as soon as they are sent: from then on the framework must not answer. */
  taken?(): void;
}
