//! Another model, another permission mode: between turns, with a deadline and a typed result.

use super::decide::{Step, check_value};
use super::end::{Closing, SettingsResult};
use super::event::{Event, Op};
use super::rejection::Rejection;
use super::state::{Process, State, Wanted};
use crate::agent::{Action, ControlAnswer};
use crate::id::ControlNo;

impl Step<'_> {
    pub(super) fn set(
        &mut self,
        model: Option<String>,
        mode: Option<String>,
        by: String,
    ) -> Result<(), Rejection> {
        check_value("the model", model.as_deref())?;
        check_value("the mode", mode.as_deref())?;
        if model.is_none() && mode.is_none() {
            return Err(Rejection::NothingToSet);
        }
        // What is used already is not asked for, unless another switch is on its way.
        let pending = self.state.wanted.is_some() || self.state.switching();
        let absent = matches!(self.state.process, Process::Absent);
        let news = |wish: Option<String>, using: &Option<String>, profile: &Option<String>| {
            wish.filter(|wish| {
                pending || (using.as_ref() != Some(wish) || absent) && (profile.as_ref() != Some(wish))
            })
        };
        let model = news(model, &self.state.using_model, &self.state.profile.model);
        let mode = news(mode, &self.state.using_mode, &self.state.profile.mode);
        if model.is_none() && mode.is_none() {
            return Ok(());
        }
        self.emit(Event::SettingsWanted { model: model.clone(), mode: mode.clone(), by });
        if absent {
            self.emit(Event::SettingsResolved { model, mode, result: SettingsResult::ForNextLaunch });
        }
        Ok(())
    }

    /// Asks for what is wanted. Tells whether a turn has to wait for it.
    pub(super) fn settings_before_turn(&mut self) -> bool {
        if self.state.switching() {
            return true;
        }
        let Some(Wanted::Settings { model, mode, .. }) = self.state.wanted.clone() else { return false };
        if let Some(model) = model {
            let control = self.state.next_control;
            self.emit(Event::SettingsAsked { control, model: Some(model.clone()), mode: None });
            self.write(Op::Write(Action::SetModel { control, model }));
        }
        if let Some(mode) = mode {
            let control = self.state.next_control;
            self.emit(Event::SettingsAsked { control, model: None, mode: Some(mode.clone()) });
            self.write(Op::Write(Action::SetMode { control, mode }));
        }
        true
    }

    pub(super) fn control_answered(&mut self, control: ControlNo, answer: ControlAnswer) {
        let Some(wanted) = self.state.controls.get(&control).cloned() else { return };
        self.emit(Event::ControlAnswered { control, answer: answer.clone() });
        let Wanted::Settings { model, mode, .. } = wanted else { return };
        let result = match answer {
            ControlAnswer::Done { .. } => SettingsResult::Applied,
            ControlAnswer::Refused { code, message } => SettingsResult::Refused { code, message },
        };
        self.emit(Event::SettingsResolved { model, mode, result });
    }

    /// What the process did not live to do is done by the next.
    pub(super) fn keep_settings(&mut self) {
        let wanted: Vec<Wanted> = self.state.controls.values().chain(&self.state.wanted).cloned().collect();
        for wish in wanted {
            if let Wanted::Settings { model, mode, .. } = wish {
                self.emit(Event::SettingsResolved { model, mode, result: SettingsResult::ForNextLaunch });
            }
        }
    }

    /// A switch that is not answered in time leads to a launch with the new values.
    pub(super) fn settings_expired(&mut self, control: ControlNo) {
        let Some(Wanted::Settings { model, mode, .. }) = self.state.controls.get(&control).cloned() else {
            return;
        };
        self.emit(Event::ControlExpired { control });
        self.emit(Event::SettingsResolved { model, mode, result: SettingsResult::Relaunching });
        self.emit(Event::ResumeAsked { by: "lockkeeper".to_owned() });
        self.close(Closing::Relaunch { what: "the switch of the model or mode".to_owned() });
    }
}

impl State {
    /// Whether a switch of the model or mode is on its way.
    pub(super) fn switching(&self) -> bool {
        self.controls.values().any(|wanted| wanted.settings_asked().is_some())
    }
}
