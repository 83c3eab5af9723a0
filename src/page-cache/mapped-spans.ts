import type { Bindings } from './bindings.js';
import type { Mapping } from './mapper.js';

/**
 * Largest size of a mapping. A file is mapped in spans of this many bytes, each at a multiple of it; the last may be
 * shorter. All requests share the spans of a file, including requests for other regions of it.
 */
export const SPAN_BYTES = 256 * 1024 * 1024;

/** Mapped span of a file. */
export interface Span {
  readonly mapping: Mapping;
  /** Number of windows of the span that are in flight. */
  windows: number;
  /** Whether a longer mapping has taken its place. It is then unmapped with its last window. */
  isReplaced: boolean;
}

/** Mapped spans of one open file. */
export class MappedSpans {
  readonly #bindings: Bindings;
  readonly #fd: number;
  readonly #spans = new Map<number, Span>();

  constructor(bindings: Bindings, fd: number) {
    this.#bindings = bindings;
    this.#fd = fd;
  }

  /** Returns the mapping of the span with the byte at `position`, if there is one. */
  at(position: number): Mapping | undefined {
    return this.#spans.get(Math.floor(position / SPAN_BYTES))?.mapping;
  }

  /** Returns the span that has the bytes from `start` to `end`. Maps it up to `size`, the size of the file, if necessary. */
  map(start: number, end: number, size: number): Span | 'out-of-reach' | 'map-limit' | 'map-failed' {
    const index = Math.floor(start / SPAN_BYTES);
    const spanStart = index * SPAN_BYTES;
    const existing = this.#spans.get(index);
    if (existing !== undefined && spanStart + existing.mapping.bytes.byteLength >= end) return existing;
    // The file has grown since it was mapped.
    const mapping = this.#bindings.map(this.#fd, spanStart, Math.min(SPAN_BYTES, size - spanStart));
    if (typeof mapping === 'string') return mapping;
    if (existing !== undefined) this.#replace(existing);
    const span = { mapping, windows: 0, isReplaced: false };
    this.#spans.set(index, span);
    return span;
  }

  /** Ends one window of a span. */
  releaseWindow(span: Span): void {
    span.windows--;
    if (span.isReplaced && span.windows === 0) this.#bindings.unmap(span.mapping);
  }

  /** Unmaps all spans. No window may be in flight. */
  clear(): void {
    for (const { mapping } of this.#spans.values()) this.#bindings.unmap(mapping);
    this.#spans.clear();
  }

  #replace(span: Span): void {
    span.isReplaced = true;
    if (span.windows === 0) this.#bindings.unmap(span.mapping);
  }
}
