// Programs that do nothing but take processor time.

/** Runs as many of them until it is disposed. */
export class Hogs implements Disposable {
  readonly #children: readonly Bun.Subprocess[]

  constructor(count: number, nice = 0) {
    this.#children = Array.from({ length: count }, () =>
      Bun.spawn(['nice', '-n', `${nice}`, 'sh', '-c', 'while :; do :; done']),
    )
  }

  [Symbol.dispose](): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }
}
