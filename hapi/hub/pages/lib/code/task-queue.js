// Tasks that a worker or a frame does one after the other. It is ended when one takes too long, and when there has been
// none for a while.

/**
 * @template Task
 * @template Result
 */
export class TaskQueue {
  /**
   * @param {object} options
   * @param {(task: Task, id: number) => void} options.begin gives a task to the worker, which is started where there is none
   * @param {() => void} options.end ends the worker
   * @param {(hasStarted: boolean) => Result} options.late the result of a task that was not done in time
   * @param {(task: Task, result: Result) => void} options.done called with each result, before the next task begins
   * @param {{ load: number, task: number, idle: number }} options.limits ms until the worker has started with a task, until the task is done, and until a worker without tasks is ended
   */
  constructor({ begin, end, late, done, limits }) {
    this._begin = begin;
    this._end = end;
    this._late = late;
    this._done = done;
    this._limits = limits;
    /** @type {{ task: Task, resolve: (result: Result) => void }[]} */
    this._waiting = [];
    /** @type {{ task: Task, resolve: (result: Result) => void } | null} */
    this._current = null;
    this._id = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
  }

  /** Do a task after those that have been asked for before. @param {Task} task @returns {Promise<Result>} */
  add(task) {
    return new Promise((resolve) => {
      this._waiting.push({ task, resolve });
      this._next();
    });
  }

  /** The task that the worker has or waits for, and its id. @returns {{ task: Task, id: number } | null} */
  get current() {
    return this._current && { task: this._current.task, id: this._id };
  }

  /** The worker has loaded what it needs for the current task. */
  started() {
    this._limit(this._limits.task, true);
  }

  /** The current task is done. @param {Result} result */
  finish(result) {
    clearTimeout(this._timer);
    const ended = this._current;
    this._current = null;
    if (ended) {
      this._done(ended.task, result);
      ended.resolve(result);
    }
    this._next();
  }

  _next() {
    if (this._current) return;
    clearTimeout(this._timer);
    this._current = this._waiting.shift() ?? null;
    if (!this._current) {
      this._timer = setTimeout(() => this._end(), this._limits.idle);
      return;
    }
    this._id += 1;
    this._limit(this._limits.load, false);
    this._begin(this._current.task, this._id);
  }

  /** @param {number} time ms @param {boolean} hasStarted */
  _limit(time, hasStarted) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      this._end();
      this.finish(this._late(hasStarted));
    }, time);
  }
}
