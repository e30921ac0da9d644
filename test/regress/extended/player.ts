// Plays one script of the suite as psql would, but over the extended protocol. What psql does by
// itself (\d and its like, files, formats) is passed over.
import { Connection, type Login } from './connection.ts'
import { Sender, type Answer, type Mode } from './exchange.ts'
import { isEmptySql, SqlText } from './sql-text.ts'
import { isTrue, Variables, type Command } from './variables.ts'

/** A statement and what came back. */
export type Exchange = { readonly line: number; readonly sql: string; readonly lines: string[] }

/** What a script is played with. */
export type PlayOptions = {
  readonly script: string
  readonly login: Login
  readonly mode: Mode
  readonly environment: Readonly<Record<string, string>>
}

const SQLSTATE_NONE = '00000'

/** Plays a script to its end. Never throws for what the server says. */
export async function play(options: PlayOptions): Promise<Exchange[]> {
  const player = new Player(options)
  await player.run()
  return player.exchanges
}

/** A branch of \if: whether it is played, and whether an earlier one of its \if was. */
type Branch = { active: boolean; taken: boolean; readonly outer: boolean }

class Player {
  readonly exchanges: Exchange[] = []
  readonly #options: PlayOptions
  readonly #variables: Variables
  readonly #text: SqlText
  readonly #branches: Branch[] = []
  #login: Login
  #connection: Connection | undefined
  #sender: Sender | undefined
  #over = false

  constructor(options: PlayOptions) {
    this.#options = options
    this.#login = options.login
    const { database, user } = options.login
    this.#variables = new Variables({ DBNAME: database, USER: user })
    this.#text = new SqlText(options.script, this.#variables.substitute)
  }

  async run(): Promise<void> {
    await this.#connect(this.#login)
    while (!this.#over) {
      const piece = this.#text.next()
      if (piece.kind === 'end') break
      if (piece.kind === 'statement') {
        if (this.#active) await this.#execute(piece.text, piece.several)
        continue
      }
      for (const command of this.#variables.commands(piece.line)) {
        await this.#command(command, piece.text, piece.several)
        if (this.#over) break
      }
    }
    await this.#connection?.[Symbol.asyncDispose]()
  }

  get #active(): boolean {
    return this.#branches.at(-1)?.active ?? true
  }

  async #connect(login: Login): Promise<void> {
    try {
      const connection = await Connection.open(login)
      await this.#connection?.[Symbol.asyncDispose]()
      this.#connection = connection
      this.#login = login
      const { mode } = this.#options
      this.#sender = new Sender(connection, mode, () => this.#text.copyData())
      this.#noteParameters()
    } catch (error) {
      this.#add('\\connect', [error instanceof Error ? error.message : String(error)])
      this.#over = this.#connection === undefined
    }
  }

  async #execute(sql: string, several: boolean): Promise<Answer | undefined> {
    const sender = this.#sender
    if (sender === undefined || isEmptySql(sql)) return undefined
    const { line } = this.#text
    const answer = await sender.run(sql.trimStart(), several)
    this.exchanges.push({ line, sql: sql.trim(), lines: answer.lines })
    this.#variables.set('ERROR', String(answer.error !== undefined))
    this.#variables.set('SQLSTATE', answer.error ?? SQLSTATE_NONE)
    this.#variables.set('ROW_COUNT', String(answer.rows.length))
    this.#noteParameters()
    if (this.#connection?.closed === true) this.#over = true
    return answer
  }

  #noteParameters(): void {
    const standard = this.#connection?.parameters.get('standard_conforming_strings')
    this.#text.standardStrings = standard !== 'off'
  }

  #add(sql: string, lines: string[]): void {
    this.exchanges.push({ line: this.#text.line, sql, lines })
  }

  async #command(command: Command, buffer: string, several: boolean): Promise<void> {
    if (this.#branch(command)) return
    if (!this.#active) return this.#text.reset()
    const [first, second] = command.args
    switch (command.name) {
      case 'set':
        return this.#variables.set(first ?? '', command.args.slice(1).join(''))
      case 'unset':
        return this.#variables.unset(first ?? '')
      case 'getenv':
        return this.#variables.set(first ?? '', this.#options.environment[second ?? ''] ?? '')
      case 'c':
      case 'connect':
        return await this.#connect({
          ...this.#login,
          database: given(first) ?? this.#login.database,
          user: given(second) ?? this.#login.user,
        })
      case 'encoding':
        return void (await this.#execute(`set client_encoding to '${first ?? 'UTF8'}'`, false))
      case 'copy':
        return await this.#copy(command.raw)
      case 'r':
      case 'reset':
        return this.#text.reset()
      case 'q':
      case 'quit':
        this.#over = true
        return undefined
      default:
        return await this.#send(command, buffer, several)
    }
  }

  /** The commands that run the statement before them. */
  async #send(command: Command, buffer: string, several: boolean): Promise<void> {
    if (!['g', 'gx', 'gset', 'gexec', 'gdesc', 'crosstabview'].includes(command.name)) return
    this.#text.reset()
    if (command.name === 'gdesc') {
      const answer = await this.#sender?.describe(buffer)
      if (answer !== undefined) this.#add(buffer.trim(), answer.lines)
      return
    }
    const answer = await this.#execute(buffer, several)
    if (answer?.error !== undefined) return
    if (command.name === 'gset') this.#keep(answer, command.args[0] ?? '')
    if (command.name !== 'gexec') return
    for (const value of answer?.rows.flat() ?? []) {
      if (value !== null && !this.#over) await this.#execute(value, false)
    }
  }

  #keep(answer: Answer | undefined, prefix: string): void {
    const [row] = answer?.rows ?? []
    for (const [at, name] of (answer?.columns ?? []).entries()) {
      const value = row?.[at]
      if (value === null || value === undefined) this.#variables.unset(prefix + name)
      else this.#variables.set(prefix + name, value)
    }
  }

  /** psql's own COPY: the same statement, with the client's streams. */
  async #copy(raw: string): Promise<void> {
    const text = raw.trim().replace(/;$/, '')
    if (!/\b(?:to\s+p?stdout|from\s+p?stdin)\b/i.test(text)) return
    await this.#execute(`COPY ${text}`, false)
  }

  /** Whether the command was one of \if and its like, and so is done. */
  #branch({ name, args }: Command): boolean {
    const branch = this.#branches.at(-1)
    if (name === 'if') {
      const active = this.#active && isTrue(args[0])
      this.#branches.push({ active, taken: active, outer: this.#active })
    } else if (branch === undefined) {
      return false
    } else if (name === 'elif' || name === 'else') {
      branch.active = branch.outer && !branch.taken && (name === 'else' || isTrue(args[0]))
      branch.taken ||= branch.active
    } else if (name === 'endif') {
      this.#branches.pop()
    } else {
      return false
    }
    return true
  }
}

function given(word: string | undefined): string | undefined {
  return word === '-' || word === '' ? undefined : word
}
