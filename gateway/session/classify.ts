// What a text may leave behind in the session that runs it, told from its tokens alone.
//
// The rule is never to be silently wrong: what is not known to leave nothing pins its backend. A
// statement hidden in a function or a view is not seen here; the names of functions that reach
// session state are.

import { Pin } from '../../shared/link/frame.ts'
import { SqlLexer, Token } from './sql-lexer.ts'
import { FIRST_FUNCTION, Word } from './sql-words.ts'
import { IN_DOUBT, Trait } from './traits.ts'

/** A text longer than this holds no date that Postgres reads (datetime.h, MAXDATELEN 128). */
const DATE_BYTES_MAX = 128
const CLOCK_WORDS = /now|today|tomorrow|yesterday/i

/** How far a call of set_config has been read: its first argument may be a name and no more. */
const SetConfig = { None: 0, Called: 1, Opened: 2, Named: 3 } as const

class Classifier {
  readonly #lexer = new SqlLexer()
  #bytes: Buffer = Buffer.alloc(0)
  #traits = 0
  #statements = 0
  #rollbacks = 0
  // The statement under way.
  #words = 0
  #first: number = Word.None
  #second: number = Word.None
  #third: number = Word.None
  #previous: number = Word.None
  #depth = 0
  #calls = false // has a parenthesis or INTO: not provably a read
  #naming = false // in SET and RESET: the setting's name is not over yet
  #updates = false // has UPDATE
  #setConfig: number = SetConfig.None

  run(bytes: Buffer, start: number, end: number, mode: number): number {
    const lexer = this.#lexer
    lexer.reset(bytes, start, end, mode)
    this.#bytes = bytes
    this.#traits = this.#statements = this.#rollbacks = 0
    this.#begin()
    for (;;) {
      const token = lexer.next()
      if (token === Token.Word) this.#onWord(lexer.code)
      else if (token === Token.End) break
      else if (token === Token.Unterminated) return this.#traits | IN_DOUBT
      else this.#onToken(token)
    }
    this.#end()
    // What follows a ROLLBACK in one text runs in a transaction of its own, and commits.
    if (this.#rollbacks > 0 && this.#statements > 1) this.#traits |= Trait.MayCommit
    return this.#traits
  }

  #begin(): void {
    this.#first = this.#second = this.#third = this.#previous = Word.None
    this.#words = this.#depth = 0
    this.#calls = this.#naming = this.#updates = false
    this.#setConfig = SetConfig.None
  }

  #onToken(token: number): void {
    if (this.#setConfig !== SetConfig.None) this.#onSetConfigToken(token)
    switch (token) {
      case Token.Open:
        this.#depth++
        this.#calls = true
        break
      case Token.Close:
        this.#depth--
        break
      case Token.Semicolon:
        if (this.#depth <= 0) {
          this.#end()
          this.#begin()
        }
        break
      case Token.String:
        this.#traits |= this.#readsClock() ? Trait.NotShared | Trait.Literal : Trait.Literal
        break
      case Token.Quoted:
        if (this.#naming) this.#traits |= Pin.NotCleanable
        this.#countWord(Word.None)
        if (this.#lexer.code !== Word.None) this.#onFunction(this.#lexer.code)
        break
      case Token.Dot:
        if (this.#naming) this.#traits |= Pin.NotCleanable
        break
      case Token.Equals:
        this.#naming = false
        break
      default:
    }
    this.#previous = Word.None
  }

  #onWord(code: number): void {
    if (this.#setConfig !== SetConfig.None) this.#onSetConfigToken(Token.Word)
    this.#countWord(code)
    if (code >= FIRST_FUNCTION) this.#onFunction(code)
    else if (code !== Word.None) this.#onKeyword(code)
    this.#previous = code
  }

  #countWord(code: number): void {
    this.#words++
    if (this.#words === 1) {
      this.#first = code
      this.#naming = code === Word.Set || code === Word.Reset
    } else if (this.#words === 2) {
      this.#second = code
    } else if (this.#words === 3) {
      this.#third = code
    }
  }

  #onKeyword(code: number): void {
    switch (code) {
      case Word.To:
        this.#naming = false
        break
      case Word.Temp:
        // INSERT INTO temp names a table; CREATE TEMP, INTO TEMP and their like make one.
        if (this.#first === Word.Insert && this.#words === 3) break
        if (makesTemp(this.#previous)) this.#traits |= Pin.TempObjects
        break
      case Word.Hold:
        if (this.#previous === Word.With) this.#traits |= Pin.CursorWithHold
        break
      case Word.Seed:
        if (this.#naming) this.#traits |= Pin.Setseed
        break
      case Word.Execute:
        if (this.#first === Word.Explain) this.#traits |= Pin.SqlPrepare | Trait.UsesNames
        break
      case Word.Into:
        this.#calls = true
        break
      case Word.Update:
        this.#updates = true
        break
      default:
    }
  }

  #onFunction(code: number): void {
    if (code === Word.SetConfig) this.#setConfig = SetConfig.Called
    // It changes how the rest of the text is to be read.
    if (code === Word.StandardStrings && this.#first === Word.Show) return
    // Its rule turns an UPDATE into set_config.
    if (code === Word.SettingsView && !this.#updates) return
    this.#traits |= FUNCTION_TRAITS[code] ?? 0
  }

  /** set_config('plain_name', ...) is a setting like others; any other name may be a custom one. */
  #onSetConfigToken(token: number): void {
    if (this.#setConfig === SetConfig.Called && token === Token.Open) {
      this.#setConfig = SetConfig.Opened
      return
    }
    if (this.#setConfig === SetConfig.Named) {
      this.#setConfig = SetConfig.None
      // 'a' || 'b', or 'a' that goes on in the next line: the name is another.
      if (token !== Token.Comma) this.#traits |= Pin.NotCleanable
      return
    }
    const plain = this.#setConfig === SetConfig.Opened && token === Token.String
    this.#setConfig = plain ? SetConfig.Named : SetConfig.None
    const { start, end, escaped } = this.#lexer
    if (!plain || escaped) this.#traits |= Pin.NotCleanable
    else this.#onSettingName(this.#bytes.toString('latin1', start, end).toLowerCase())
  }

  #onSettingName(name: string): void {
    if (name.includes('.')) this.#traits |= Pin.NotCleanable
    if (name === 'seed') this.#traits |= Pin.Setseed
    if (name === 'standard_conforming_strings') this.#traits |= IN_DOUBT
  }

  #readsClock(): boolean {
    const { start, end, escaped } = this.#lexer
    if (end - start > DATE_BYTES_MAX || end - start < 3) return false
    return escaped || CLOCK_WORDS.test(this.#bytes.toString('latin1', start, end))
  }

  #end(): void {
    if (this.#words === 0) {
      if (this.#depth !== 0 || this.#calls) this.#traits |= IN_DOUBT
      return
    }
    this.#statements++
    if (!this.#leavesDataAlone() || this.#calls) this.#traits |= Trait.MayWrite
    this.#traits |= this.#ofCommand()
  }

  #leavesDataAlone(): boolean {
    // ROLLBACK PREPARED has a literal.
    if (this.#first === Word.Rollback) return (this.#traits & Trait.Literal) === 0
    return isRead(this.#first)
  }

  /** What the command itself leaves behind, by its first words. */
  #ofCommand(): number {
    switch (this.#first) {
      case Word.Commit:
        return Trait.MayCommit
      case Word.Rollback:
        this.#rollbacks++
        return this.#second === Word.To || this.#third === Word.To ? 0 : Trait.RollsBack
      case Word.Set:
        return this.#ofSet()
      case Word.Reset:
        // Back to what an unpinned backend has anyway.
        return Trait.LocalSettings
      case Word.Discard:
        return this.#second === Word.All ? Trait.Forget | Trait.ClearsStatements : 0
      case Word.Deallocate:
        return this.#ofDeallocate()
      case Word.Prepare:
        return this.#second === Word.Transaction ? Trait.MayCommit : Pin.SqlPrepare
      default:
        return COMMAND_TRAITS[this.#first] ?? IN_DOUBT
    }
  }

  #ofSet(): number {
    switch (this.#second) {
      case Word.Local:
        return Trait.LocalSettings
      case Word.Transaction:
      case Word.Constraints:
        return 0
      default:
        return Pin.Settings | Trait.LocalSettings
    }
  }

  #ofDeallocate(): number {
    const target = this.#second === Word.Prepare ? this.#third : this.#second
    if (target === Word.All) return Trait.Forget | Trait.ClearsStatements
    return Pin.SqlPrepare | Trait.UsesNames | Trait.Forget
  }
}

function makesTemp(before: number): boolean {
  return (
    before === Word.Create ||
    before === Word.Replace ||
    before === Word.Local ||
    before === Word.Global ||
    before === Word.Into
  )
}

function isRead(first: number): boolean {
  return first === Word.Select || first === Word.Show
}

const FUNCTION_TRAITS: Readonly<Record<number, number>> = {
  [Word.SetConfig]: Pin.Settings | Trait.LocalSettings,
  [Word.CustomSetting]: Pin.Settings | Pin.NotCleanable | Trait.LocalSettings,
  [Word.SettingsView]: Pin.Settings | Trait.LocalSettings,
  [Word.Setseed]: Pin.Setseed,
  [Word.Sequence]: Pin.Sequence,
  [Word.AdvisoryLock]: Pin.AdvisoryLock,
  [Word.PgTemp]: Pin.TempObjects,
  [Word.SessionBound]: Pin.Unknown | Pin.NotCleanable,
  [Word.RunsText]: IN_DOUBT,
  [Word.PreparedStatements]: Pin.SqlPrepare | Trait.UsesNames,
  [Word.StandardStrings]: IN_DOUBT,
}

/** Commands whose first word says it all; one that is not here is in doubt. */
const COMMAND_TRAITS: Readonly<Record<number, number>> = {
  [Word.Plain]: 0,
  [Word.Select]: 0,
  [Word.Show]: 0,
  [Word.Begin]: 0,
  [Word.With]: 0,
  [Word.Create]: 0,
  [Word.Insert]: 0,
  [Word.Update]: 0,
  [Word.Explain]: 0,
  [Word.Declare]: 0,
  [Word.Listen]: Pin.Listen,
  [Word.Load]: Pin.NotCleanable | Pin.Unknown,
  [Word.Execute]: Pin.SqlPrepare | Trait.UsesNames | Trait.MayCommit,
  [Word.Procedural]: IN_DOUBT,
}

const classifier = new Classifier()

/**
 * Classifies `bytes[start, end)`, the text of a Query or Parse without its NUL. `mode` are LexMode
 * bits. The answer is a mask of Pin (lower 16) and Trait bits; 0 for a read that leaves nothing.
 */
export function classify(bytes: Buffer, start: number, end: number, mode: number): number {
  return classifier.run(bytes, start, end, mode)
}
