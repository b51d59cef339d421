// The microphone: samples are collected in this page and made into a 16 kHz WAV here.

import { audioContext, levelled, resampled, SPEECH_RATE } from "./sound.js";

const LONGEST = 10; // seconds

export class Recorder {
  /** `onStop(samples or null)` gets 16 kHz samples; `level` is the canvas of the meter. */
  constructor(level, isSpeech, onStop, onTime) {
    this.level = level;
    this.isSpeech = isSpeech;
    this.onStop = onStop;
    this.onTime = onTime;
    this.isOn = false;
  }

  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("This page may not use the microphone: open it as http://127.0.0.1 or over https.");
    }
    const exact = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: { ...exact, channelCount: 1 } });
    } catch (error) {
      const reasons = {
        NotAllowedError: "The microphone was not allowed: allow it in the browser's address bar and try again.",
        NotFoundError: "No microphone was found: plug one in, or drop a sound file instead.",
      };
      throw new Error(reasons[error.name] ?? `The microphone cannot be used (${error.message}).`);
    }
    const context = audioContext();
    await context.audioWorklet.addModule(new URL("./recorder-worklet.js", import.meta.url));
    this.source = context.createMediaStreamSource(this.stream);
    this.tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.blocks = [];
    this.peaks = [];
    this.heard = 0;
    this.tap.port.onmessage = ({ data }) => this.hear(data, context.sampleRate);
    this.source.connect(this.tap);
    this.isOn = true;
    this.draw();
  }

  hear(block, rate) {
    if (!this.isOn) return;
    this.blocks.push(block);
    this.heard += block.length;
    this.peaks.push(block.reduce((peak, s) => Math.max(peak, Math.abs(s)), 0));
    if (this.heard > LONGEST * rate) this.stop();
  }

  async stop() {
    if (!this.isOn) return;
    this.isOn = false;
    this.source.disconnect();
    this.tap.port.onmessage = null;
    this.stream.getTracks().forEach((track) => track.stop());
    const all = new Float32Array(this.heard);
    let at = 0;
    for (const block of this.blocks) {
      all.set(block, at);
      at += block.length;
    }
    const samples = await resampled(all, audioContext().sampleRate, SPEECH_RATE);
    this.onStop(this.isSpeech ? levelled(samples, SPEECH_RATE) : samples);
  }

  /** The level of the last seconds as moving bars. */
  draw() {
    const { width, height } = this.level;
    const context = this.level.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.fillStyle = getComputedStyle(this.level).getPropertyValue("--audio");
    const bars = Math.floor(width / 8);
    // About 375 blocks a second arrive at 48 kHz: five of them make a bar.
    for (let bar = 0; bar < bars; bar += 1) {
      const end = this.peaks.length - 5 * (bars - 1 - bar);
      const peak = Math.max(0, ...this.peaks.slice(Math.max(0, end - 5), Math.max(0, end)));
      const tall = Math.max(3, Math.min(1, Math.sqrt(peak)) * height);
      context.fillRect(bar * 8 + 2, (height - tall) / 2, 4, tall);
    }
    this.onTime?.(this.heard / audioContext().sampleRate);
    if (this.isOn) requestAnimationFrame(() => this.draw());
  }
}
