import postgres from 'postgres'

/** Writes row after row through a pooler's own port until disposed; counts what was acknowledged. */
export class Writer implements AsyncDisposable {
  acknowledged = 0
  readonly errors: string[] = []
  readonly #db: postgres.Sql
  #stopped = false
  readonly #running: Promise<void>

  constructor(port: number, first = 1) {
    this.#db = postgres({
      host: '127.0.0.1',
      port,
      user: 'postgres',
      password: 'postgres',
      database: 'postgres',
      max: 1,
      onnotice: () => {},
    })
    this.#running = this.#run(first)
  }

  async #run(first: number): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#db`INSERT INTO written VALUES (${first + this.acknowledged})`
        this.acknowledged += 1
      } catch (error) {
        this.errors.push(String(error))
        return
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    await this.#running
    await this.#db.end({ timeout: 1 })
  }
}
