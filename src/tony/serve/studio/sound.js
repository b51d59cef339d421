// Sound in the page: WAV files, waveforms, and a player that starts while the sound is still arriving.

export const SPEECH_RATE = 16000; // what recordings are sent at, in Hz

let shared = null;

/** The one AudioContext of the page; it may be used after the first click. */
export function audioContext() {
  shared ??= new AudioContext();
  if (shared.state === "suspended") shared.resume();
  return shared;
}

/** A 16-bit mono WAV file (Uint8Array) of Float32 `samples` at `rate`. */
export function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, value) => [...value].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((s, i) => view.setInt16(44 + 2 * i, Math.round(Math.max(-1, Math.min(1, s)) * 32767), true));
  return new Uint8Array(view.buffer);
}

/** Base64 of bytes. */
export function base64Of(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}

/** Float32 samples of base64 PCM16. */
export function samplesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, i) => view.getInt16(2 * i, true) / 32768);
}

/** `samples` at another rate, low-passed by the browser's own resampler. */
export async function resampled(samples, from, to) {
  if (from === to || !samples.length) return samples;
  const context = new OfflineAudioContext(1, Math.ceil((samples.length * to) / from), to);
  const buffer = context.createBuffer(1, samples.length, from);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/** Speech levelled as the digit world's speech is: silence cut to 10 ms at both ends, RMS 0.1, peak <= 0.95.
 *  Silence is what stays 34 dB under the loudest 10 ms. Null when there is nothing louder than hiss. */
export function levelled(samples, rate) {
  const frame = Math.round(rate * 0.01);
  const energies = [];
  for (let i = 0; i + frame <= samples.length; i += frame) {
    let sum = 0;
    for (let j = i; j < i + frame; j += 1) sum += samples[j] * samples[j];
    energies.push(Math.sqrt(sum / frame));
  }
  const loudest = Math.max(0, ...energies);
  if (loudest < 0.004) return null;
  const isLoud = (e) => e > Math.max(loudest * 0.02, 0.001);
  const margin = Math.round(rate * 0.01);
  const start = Math.max(0, energies.findIndex(isLoud) * frame - margin);
  const end = Math.min(samples.length, (energies.findLastIndex(isLoud) + 1) * frame + margin);
  const kept = samples.slice(start, end);
  let [sum, peak] = [0, 0];
  for (const s of kept) {
    sum += s * s;
    peak = Math.max(peak, Math.abs(s));
  }
  const gain = Math.min(0.1 / Math.sqrt(sum / kept.length), 0.95 / peak);
  return kept.map((s) => s * gain);
}

/** Draw `samples` as bars; those before `played` (0..1) in the strong colour. */
export function waveform(canvas, samples, played = 1) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 240, canvas.clientHeight || 40];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const bars = Math.floor(width / 4);
  const step = samples.length / bars;
  let loudest = 0.02;
  const peaks = Array.from({ length: bars }, (_, bar) => {
    let peak = 0;
    for (let i = Math.floor(bar * step); i < Math.floor((bar + 1) * step); i += 1) {
      peak = Math.max(peak, Math.abs(samples[i]));
    }
    loudest = Math.max(loudest, peak);
    return peak;
  });
  peaks.forEach((peak, bar) => {
    const tall = Math.max(2, (peak / loudest) * (height - 4));
    context.fillStyle = style.getPropertyValue(bar / bars < played ? "--audio" : "--faint");
    context.beginPath();
    context.roundRect(bar * 4 + 0.5, (height - tall) / 2, 3, tall, 1.5);
    context.fill();
  });
}

/** A player as an element: play button, waveform, seconds. `append` while sound arrives, then `finish`. */
export class Player {
  constructor(name, rate) {
    this.rate = rate;
    this.samples = new Float32Array(0);
    this.sources = [];
    this.element = document.createElement("div");
    this.element.className = "player";
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "play";
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.time = document.createElement("span");
    this.time.className = "time";
    this.element.append(this.button, this.canvas, this.time);
    this.name = name;
    this.button.addEventListener("click", () => (this.isPlaying ? this.stop() : this.play()));
    this.show(false);
  }

  get isPlaying() {
    return this.sources.length > 0;
  }

  /** More samples; they are heard at once, gapless behind the ones before, when `aloud`. */
  append(samples, aloud) {
    const joined = new Float32Array(this.samples.length + samples.length);
    joined.set(this.samples);
    joined.set(samples, this.samples.length);
    this.samples = joined;
    if (aloud) this.schedule(samples);
    this.paint();
  }

  play() {
    this.stop();
    this.schedule(this.samples);
  }

  schedule(samples) {
    if (!samples.length) return;
    const context = audioContext();
    const buffer = context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    if (!this.isPlaying) this.next = this.began = context.currentTime + 0.06; // head start against gaps
    this.next = Math.max(this.next, context.currentTime);
    source.start(this.next);
    this.next += buffer.duration;
    this.sources.push(source);
    source.onended = () => {
      this.sources = this.sources.filter((other) => other !== source);
      if (!this.isPlaying) this.show(false);
    };
    this.show(true);
    this.follow();
  }

  stop() {
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
    }
    this.sources = [];
    this.show(false);
  }

  follow() {
    if (this.following) return;
    const step = () => {
      this.following = this.isPlaying;
      this.paint();
      if (this.isPlaying) requestAnimationFrame(step);
    };
    this.following = true;
    requestAnimationFrame(step);
  }

  show(isPlaying) {
    this.button.setAttribute("aria-label", `${isPlaying ? "Stop" : "Play"} ${this.name}`);
    this.button.classList.toggle("playing", isPlaying);
    this.paint();
  }

  paint() {
    const seconds = this.samples.length / this.rate;
    this.time.textContent = `${seconds.toFixed(1)} s`;
    if (!this.canvas.isConnected) {
      requestAnimationFrame(() => this.canvas.isConnected && this.paint());
      return;
    }
    const played = this.isPlaying && seconds ? (audioContext().currentTime - this.began) / seconds : 1;
    waveform(this.canvas, this.samples, played);
  }
}
