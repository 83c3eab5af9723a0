import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Transfer = (this: ArrayBuffer, length: number) => ArrayBuffer;

/**
 * Detaches an ArrayBuffer from its memory. All views of it become empty, so that JavaScript cannot read memory that is no
 * longer mapped. Undefined if this version of V8 cannot do that.
 */
export const detach: ((buffer: ArrayBuffer) => void) | undefined = load();

function load(): ((buffer: ArrayBuffer) => void) | undefined {
  const { transfer = experimentalTransfer() } = ArrayBuffer.prototype as { readonly transfer?: Transfer };
  if (typeof transfer !== 'function') return undefined;
  return (buffer) => {
    transfer.call(buffer, 0);
  };
}

// Node 20 has ArrayBuffer.prototype.transfer behind a flag of V8, which applies to new contexts.
function experimentalTransfer(): Transfer | undefined {
  try {
    setFlagsFromString('--harmony-rab-gsab-transfer');
    return runInNewContext('ArrayBuffer.prototype.transfer');
  } catch {
    return undefined;
  } finally {
    setFlagsFromString('--no-harmony-rab-gsab-transfer');
  }
}
