/** A socket that takes everything and keeps nothing: what it would cost is the kernel's. */
export class Drain {
  bytes = 0
  write(_bytes: Uint8Array, _start: number, length: number): number {
    this.bytes += length
    return length
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  shutdown(): void {}
  terminate(): void {}
}
