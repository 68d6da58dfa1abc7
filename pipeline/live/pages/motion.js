// Numbers and bars that glide to where they should be, and arrive there exactly.

const TIME_MS = 140; // after this, two thirds of the way is done
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class Gliding {
  // draw(value) is called with each value on the way; near is how close counts as arrived.
  constructor(draw, near) {
    this.draw = draw;
    this.near = near;
    this.value = 0;
    this.target = 0;
  }

  jump() {
    this.value = this.target;
    this.draw(this.value);
  }

  step(elapsedMs) {
    if (this.value === this.target) {
      return;
    }
    const left = this.target - this.value;
    const arrives = CALM.matches || Math.abs(left) <= this.near || elapsedMs > 1000;
    this.value = arrives ? this.target : this.value + left * (1 - Math.exp(-elapsedMs / TIME_MS));
    this.draw(this.value);
  }
}

// Steps everything that `moving` gives, once per frame.
export function animate(moving) {
  let before = performance.now();
  function frame(now) {
    for (const one of moving()) {
      one.step(now - before);
    }
    before = now;
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);
}
